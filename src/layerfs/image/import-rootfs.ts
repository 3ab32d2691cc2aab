/**
 * An image of one layer from the tar of a root filesystem, as `docker import` makes it.
 */
import { createHash } from 'node:crypto'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type DiffId, finishDiffId } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { encodeImageConfig, type ImageConfig } from '../../oci/image-config.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { decompress } from '../compression/decompress.ts'
import { gzip } from '../compression/gzip.ts'
import { type ContentStore, putBlob } from '../content/content-store.ts'
import { TarReader } from '../tar/reader.ts'
import { decompressed, layerTypeOf, type Sniffed, sniff } from './sniff-encoding.ts'
import { putDocument, putManifest } from './write-manifest.ts'

/** What is said about the image; its layers and history are made here. */
export type RootfsConfig = Omit<ImageConfig, 'rootfs' | 'history'>

/**
 * A tar packed with gzip or zstd becomes the layer as it is; any other is packed with gzip, since
 * what is imported once is pushed and pulled many times. Throws `invalid` for what is no tar; the
 * blob then stays in the store, unnamed.
 */
export async function importRootfs(
  chunks: AsyncIterable<Uint8Array>,
  config: RootfsConfig,
  content: ContentStore,
): Promise<Descriptor> {
  const layer = await storeLayer(await sniff(chunks), content)
  const diffId = await diffIdOf(layer, content)
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

async function storeLayer(source: Sniffed, content: ContentStore): Promise<Descriptor> {
  const isPacked = source.encoding === 'gzip' || source.encoding === 'zstd'
  const bytes = isPacked ? source.chunks : gzip(decompress(source.chunks, source.encoding))
  const mediaType = layerTypeOf(isPacked ? source.encoding : 'gzip')
  return { mediaType, ...(await putBlob(content, bytes)) }
}

/** Reads the whole tar too: what cannot be unpacked later is refused now. */
async function diffIdOf({ digest }: Descriptor, content: ContentStore): Promise<DiffId> {
  let size = 0
  const hash = createHash('sha256')
  const reader = new TarReader({ onEntry: () => {}, onData: () => {}, onEnd: () => {} })
  for await (const chunk of decompressed(content.open(digest))) {
    size += chunk.length
    hash.update(chunk)
    reader.push(chunk)
  }
  if (size === 0) throw new OciError('invalid', 'Cannot import root filesystem: it is empty')
  reader.end()
  return finishDiffId(hash)
}
