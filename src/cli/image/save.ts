import type { NamedImage } from '../../layerfs/image/archive-layout.ts'
import {
  type ArchiveFormat,
  exportArchive,
  exportLayout,
} from '../../layerfs/image/export-image.ts'
import { findImage, type LocalImage } from '../../layerfs/runtime/local-image.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { type FilePlace, parseImagePlace } from '../../oci/image-place.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { writeArchive, writePlace } from './file-place.ts'
import { wholeTarget } from './whole-target.ts'

export const saveCommand: Command = defineCommand({
  name: 'save',
  usage: '[FLAGS] IMAGE...',
  summary: 'Write images to an archive',
  examples: [
    'save -o app.tar app',
    'save app | gzip > app.tar.gz',
    'save --format oci-dir -o layout app',
    'save -o oci-archive:app.tar:1.2 app',
  ],
  flags: {
    output: {
      kind: 'string',
      short: 'o',
      value: 'FILE|PLACE',
      help: 'File instead of standard output, or oci:DIRECTORY[:NAME] and the like',
    },
    format: {
      kind: 'choice',
      choices: ['docker-archive', 'oci-archive', 'oci-dir'],
      default: 'docker-archive',
      help: 'For docker load, for any OCI tool, or as an open directory',
    },
    platform: { kind: 'string', value: 'OS/ARCH', help: 'Which of the images under a name' },
  },
  arity: { min: 1 },
  run: async ({ flags, args, given, ...context }) => {
    const place = placeIn(flags.output)
    if (place !== undefined && given.has('format')) {
      throw usageError(`Cannot use --format with --output "${flags.output}"`, 'The place says it')
    }
    if (flags.output === undefined && context.stdout.isTTY === true) {
      throw usageError('Cannot write an archive to a terminal', 'Use --output FILE, or redirect')
    }
    await using store = await openStore(context.environment.root)
    const platform = wantedPlatform(flags.platform)
    const found = await Promise.all(args.map(text => findImage(store, text, platform)))
    if (place === undefined) return await saveAs(flags, found, { store, context })
    const format = place.kind === 'docker-archive' ? 'docker' : 'oci'
    const images = await Promise.all(found.map(image => namedImage(image, format, store)))
    await writePlace(place, images, { content: store.content, streams: context })
    return 0
  },
})

interface Saving {
  readonly store: Store
  readonly context: Parameters<typeof writeArchive>[2]
}

async function saveAs(
  flags: { readonly output: string | undefined; readonly format: string },
  found: readonly LocalImage[],
  { store, context }: Saving,
): Promise<number> {
  const { output, format } = flags
  const archiveFormat: ArchiveFormat = format === 'docker-archive' ? 'docker' : 'oci'
  const images = await Promise.all(found.map(image => namedImage(image, archiveFormat, store)))
  const request = { images, content: store.content, format: archiveFormat }
  if (format === 'oci-dir') {
    if (output === undefined) throw usageError('Format oci-dir needs --output DIRECTORY')
    await exportLayout(output, request)
  } else {
    await writeArchive(exportArchive(request), output ?? '-', context)
  }
  return 0
}

function placeIn(output: string | undefined): FilePlace | undefined {
  if (output === undefined) return undefined
  const place = parseImagePlace(output)
  if (place.kind === 'registry') throw usageError('Cannot save to a registry', 'Use push')
  return place.kind === 'name' ? undefined : place
}

/** Docker's archive can say no platform: one manifest. The others take all that is here. */
async function namedImage(
  image: LocalImage,
  format: ArchiveFormat,
  { content }: Store,
): Promise<NamedImage> {
  const { reference, descriptor } = image
  const target = format === 'docker' ? descriptor : await wholeTarget(content, image)
  return reference === undefined ? { target } : { reference, target }
}
