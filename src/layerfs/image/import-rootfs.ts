/**
 * An image of one layer from the tar of a root filesystem, as `docker import` makes it.
 */
import { createHash } from 'node:crypto'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type DiffId, finishDiffId } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { encodeImageConfig, type ImageConfig } from '../../oci/image-config.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { type BlobInfo, type ContentStore, putBlob } from '../content/content-store.ts'
import { TarReader } from '../tar/reader.ts'
import { layerType } from './docker-manifest.ts'
import { decompressed } from './sniff-compression.ts'
import { putDocument, putManifest } from './write-manifest.ts'

/** What is said about the image; its layers and history are made here. */
export type RootfsConfig = Omit<ImageConfig, 'rootfs' | 'history'>

/**
 * The tar, plain or gzip, becomes the layer as it is. Throws `invalid` for what is no tar and
 * `unsupported` for other compressions; the blob then stays in the store without a name.
 */
export async function importRootfs(
  chunks: AsyncIterable<Uint8Array>,
  config: RootfsConfig,
  content: ContentStore,
): Promise<Descriptor> {
  const blob = await putBlob(content, chunks)
  const diffId = await diffIdOf(blob, content)
  const layer = { mediaType: await layerType(blob, content), ...blob }
  const image: ImageConfig = {
    ...config,
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [
      {
        ...(config.created === undefined ? {} : { created: config.created }),
        comment: 'imported from a root filesystem',
      },
    ],
  }
  const bytes = encodeImageConfig(image)
  return await putManifest(await putDocument(bytes, mediaTypes.config, content), [layer], content)
}

/** Reads the whole tar too: what cannot be unpacked later is refused now. */
async function diffIdOf({ digest, size }: BlobInfo, content: ContentStore): Promise<DiffId> {
  if (size === 0) throw new OciError('invalid', 'Cannot import root filesystem: it is empty')
  const hash = createHash('sha256')
  const reader = new TarReader({ onEntry: () => {}, onData: () => {}, onEnd: () => {} })
  for await (const chunk of decompressed(content.open(digest))) {
    hash.update(chunk)
    reader.push(chunk)
  }
  reader.end()
  return finishDiffId(hash)
}
