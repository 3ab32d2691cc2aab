/**
 * An image of one layer from the tar of a root filesystem, as `docker import` makes it.
 */
import { createHash } from 'node:crypto'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type DiffId, finishDiffId } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { encodeImageConfig, type ImageConfig } from '../../oci/image-config.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { type ContentStore, putBlob } from '../content/content-store.ts'
import { decompress } from '../layer/decompress.ts'
import { TarReader } from '../tar/reader.ts'
import { gzip } from './gzip.ts'
import { decompressed, layerTypeOf, type Sniffed, sniff } from './sniff-encoding.ts'
import { putDocument, putManifest } from './write-manifest.ts'

/** What is said about the image; its layers and history are made here. */
export type RootfsConfig = Omit<ImageConfig, 'rootfs' | 'history'>

/**
 * The tar becomes the layer as it is; packed with what no layer may be packed with (xz, bzip2), it
 * becomes gzip. Throws `invalid` for what is no tar; the blob then stays in the store, unnamed.
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
  const isLayer = source.encoding !== 'xz' && source.encoding !== 'bzip2'
  const bytes = isLayer ? source.chunks : gzip(decompress(source.chunks, source.encoding))
  const mediaType = layerTypeOf(isLayer ? source.encoding : 'gzip')
  return { mediaType, ...(await putBlob(content, bytes)) }
}

/** Reads the whole tar too: what cannot be unpacked later is refused now. */
async function diffIdOf({ digest, size }: Descriptor, content: ContentStore): Promise<DiffId> {
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
