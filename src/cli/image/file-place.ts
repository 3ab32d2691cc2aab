/** Images in files that the user names: read into the store, written out of it. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ignoreMissing } from '../../layerfs/content/atomic-file.ts'
import type { ContentStore } from '../../layerfs/content/content-store.ts'
import {
  calledInLayout,
  isCalled,
  layoutFile,
  type NamedImage,
  nameInLayout,
} from '../../layerfs/image/archive-layout.ts'
import { exportArchive, exportLayout } from '../../layerfs/image/export-image.ts'
import { importArchive, importLayout, listLayout } from '../../layerfs/image/import-image.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { type FilePlace, formatImagePlace } from '../../oci/image-place.ts'
import { parseReference } from '../../oci/reference.ts'
import { usageError } from '../cli-error.ts'
import type { CliContext } from '../command.ts'
import { readInput } from '../input.ts'
import { writeOutputFile } from '../output-file.ts'

type Streams = Pick<CliContext, 'stdin' | 'stdout' | 'signal'>

/**
 * The images of `place`: that of its name, else all. Throws `not-found` when it has no such image,
 * and what importing throws. They are in the store, but not named in it.
 */
export async function readPlace(
  place: FilePlace,
  content: ContentStore,
  streams: Pick<Streams, 'stdin' | 'signal'>,
): Promise<NamedImage[]> {
  if (place.kind !== 'oci') {
    const images = await readInput(place.path, streams, input => importArchive(input, content))
    return wantedOf(images, place)
  }
  return importLayout(place.path, content, wantedOf(await listLayout(place.path), place))
}

/** The one image of `place`. Throws `invalid` when it has several and the place does not say which. */
export async function readOne(
  place: FilePlace,
  content: ContentStore,
  streams: Pick<Streams, 'stdin' | 'signal'>,
): Promise<NamedImage> {
  const images = await readPlace(place, content, streams)
  const [only] = images
  const digests = new Set(images.map(({ target }) => target.digest))
  if (only !== undefined && digests.size === 1) return only
  throw new OciError(
    'invalid',
    `Cannot read "${formatImagePlace(place)}": it has ${digests.size} images`,
    { hint: `Name one: ${namesOf(images).join(', ')}` },
  )
}

function wantedOf(images: readonly NamedImage[], place: FilePlace): NamedImage[] {
  const { name } = place
  if (name === undefined) return [...images]
  const wanted = images.filter(image => isCalled(image, name))
  if (wanted.length > 0) return wanted
  const names = namesOf(images)
  throw new OciError('not-found', `Cannot find an image in "${formatImagePlace(place)}"`, {
    hint: names.length === 0 ? 'It has no names' : `It has ${names.join(', ')}`,
  })
}

function namesOf(images: readonly NamedImage[]): string[] {
  return images.map(image => printable(nameInLayout(image) ?? image.target.digest))
}

/** Where images go that one `place` takes; a name in it is for one image only. */
export function namedFor(place: FilePlace, images: readonly NamedImage[]): NamedImage[] {
  const { kind, name } = place
  if (name === undefined) return [...images]
  const [only, ...more] = images
  if (only === undefined || more.length > 0) {
    throw usageError(
      `Cannot write several images to "${formatImagePlace(place)}"`,
      'Leave its name out',
    )
  }
  if (kind === 'docker-archive') return [{ target: only.target, reference: parseReference(name) }]
  return [calledInLayout(only.target, name)]
}

/**
 * Writes `images` to `place`; a file appears when it is complete, and an OCI layout keeps what else
 * it has. Throws what exporting throws.
 */
export async function writePlace(
  place: FilePlace,
  images: readonly NamedImage[],
  { content, streams }: { readonly content: ContentStore; readonly streams: Streams },
): Promise<void> {
  const request = { images: namedFor(place, images), content }
  if (place.kind === 'oci') {
    const others = await othersIn(place.path, request.images)
    return exportLayout(place.path, { ...request, others, format: 'oci' })
  }
  const format = place.kind === 'oci-archive' ? 'oci' : 'docker'
  await writeArchive(exportArchive({ ...request, format }), place.path, streams)
}

/** `-` is standard output; not a terminal. */
export async function writeArchive(
  bytes: AsyncIterable<Uint8Array>,
  path: string,
  { stdout, signal }: Pick<Streams, 'stdout' | 'signal'>,
): Promise<void> {
  if (path !== '-') return writeOutputFile(path, bytes, signal)
  if (stdout.isTTY === true) {
    throw usageError('Cannot write an archive to a terminal', 'Use --output FILE, or redirect')
  }
  await pipeline(Readable.from(bytes), stdout, { signal, end: false })
}

/** What stays in a layout: all but what has the names, or is, what comes in. */
async function othersIn(directory: string, images: readonly NamedImage[]): Promise<Descriptor[]> {
  const isLayout = (await stat(join(directory, layoutFile)).catch(ignoreMissing)) !== undefined
  if (!isLayout) return []
  const incoming = images.map(image => ({ image, name: nameInLayout(image) }))
  return (await listLayout(directory))
    .filter(
      other =>
        !incoming.some(({ image, name }) =>
          name === undefined
            ? nameInLayout(other) === undefined && other.target.digest === image.target.digest
            : isCalled(other, name),
        ),
    )
    .map(({ target }) => target)
}
