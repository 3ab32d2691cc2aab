/**
 * Images into the store: from an archive of `docker save`, `podman save` or any OCI tool, from an
 * OCI layout directory, or from the plain tar of a root filesystem.
 *
 * An import brings bytes and says what they are; naming the images is the caller's.
 */
import { join } from 'node:path'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { parseManifest } from '../../oci/manifest.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { ignoreMissing } from '../content/atomic-file.ts'
import { type ContentStore, maxDocumentSize, putBlob } from '../content/content-store.ts'
import { openRegularFile, readRegularFile } from '../content/regular-file.ts'
import {
  blobPath,
  dockerManifestFile,
  indexFile,
  layoutFile,
  type NamedImage,
  referenceFrom,
} from './archive-layout.ts'
import { importDockerManifest } from './docker-manifest.ts'
import { childrenOf, walkImage } from './image-graph.ts'
import { documentOf, readArchive } from './read-archive.ts'
import { decompressed } from './sniff-encoding.ts'

/**
 * The images of an archive, which may be compressed. Throws `invalid` for what is none or is
 * incomplete, `digest-mismatch` for a damaged one.
 */
export async function importArchive(
  chunks: AsyncIterable<Uint8Array>,
  content: ContentStore,
): Promise<NamedImage[]> {
  const archive = await readArchive(decompressed(chunks), content)
  if (archive.documents.has(indexFile)) {
    return await assertWhole(indexImages(documentOf(archive, indexFile)), content)
  }
  if (archive.documents.has(dockerManifestFile)) {
    return await importDockerManifest(archive, content)
  }
  throw new OciError(
    'invalid',
    `Cannot import archive: it has neither "${indexFile}" nor "${dockerManifestFile}"`,
    { hint: 'to make an image of a root filesystem, import it as one' },
  )
}

/**
 * The images that the OCI layout in `directory` names, none of them read. Throws `invalid`,
 * `too-large`.
 */
export async function listLayout(directory: string): Promise<NamedImage[]> {
  const read = (name: string) => readRegularFile(join(directory, name), maxDocumentSize)
  const layout = await read(layoutFile).catch(ignoreMissing)
  const index = await read(indexFile).catch(ignoreMissing)
  if (layout !== undefined && index !== undefined) return indexImages(index)
  throw new OciError(
    'invalid',
    `Cannot import "${printable(directory)}": no OCI layout ("${layoutFile}" and "${indexFile}") there`,
  )
}

/** As {@link importArchive}, of an OCI layout that lies open in `directory`; `images`: only those. */
export async function importLayout(
  directory: string,
  content: ContentStore,
  images?: readonly NamedImage[],
): Promise<NamedImage[]> {
  const wanted = images ?? (await listLayout(directory))
  const copy = async ({ digest, size }: Descriptor) => {
    if ((await content.find(digest)) !== undefined) return
    const file = await openRegularFile(join(directory, blobPath(digest)))
    // One byte more than promised tells that there are too many; the stream closes the file.
    await putBlob(content, file.createReadStream({ end: size }), { digest, size })
  }
  for (const { target } of wanted) await copyGraph(target, { copy, content })
  return await assertWhole(wanted, content)
}

/**
 * Each document is copied before its children are known. Of a document's children only those that
 * the directory has are copied: `assertWhole` tells which of the others would be needed.
 */
async function copyGraph(
  target: Descriptor,
  into: { copy: (descriptor: Descriptor) => Promise<void>; content: ContentStore },
): Promise<void> {
  const copied = new Set<Digest>()
  const copyOnce = async (descriptor: Descriptor) => {
    if (copied.has(descriptor.digest)) return
    copied.add(descriptor.digest)
    await into.copy(descriptor).catch(ignoreMissing)
  }
  await copyOnce(target)
  for await (const node of walkImage(target, into.content)) {
    for (const child of childrenOf(node)) await copyOnce(child)
  }
}

function indexImages(bytes: Uint8Array): NamedImage[] {
  if (bytes.length > maxDocumentSize) {
    throw new OciError('too-large', `Cannot read index: it has ${bytes.length} bytes`)
  }
  const { value } = parseManifest(bytes, mediaTypes.index)
  if (value.kind !== 'index') throw new OciError('invalid', 'Cannot read index: it is a manifest')
  return value.manifests.map(target => {
    const reference = referenceFrom(target.annotations)
    return reference === undefined ? { target } : { reference, target }
  })
}

async function assertWhole(
  images: readonly NamedImage[],
  content: ContentStore,
): Promise<NamedImage[]> {
  for (const { target } of images) {
    for await (const { descriptor } of walkImage(target, content)) {
      if ((await content.find(descriptor.digest)) !== undefined) continue
      throw new OciError(
        'invalid',
        `Cannot import image ${target.digest}: its blob ${descriptor.digest} is not in the archive`,
      )
    }
  }
  return [...images]
}
