/**
 * A finished stage as an image in the content store: config and manifest, the layers being there.
 */
import type { BlobWriter } from '../../layerfs/content/content-store.ts'
import { putBlob } from '../../layerfs/content/content-store.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { encodeImageConfig, type ImageConfig } from '../../oci/image-config.ts'
import { mediaTypes } from '../../oci/media-type.ts'

export interface WrittenImage {
  /** Of the manifest. */
  readonly descriptor: Descriptor
  /** Of the config; its digest is the image ID. */
  readonly config: Descriptor
}

/** `layers`: descriptors of the config's `diff_ids`, in the same order. */
export async function writeImage(
  config: ImageConfig,
  layers: readonly Descriptor[],
  content: BlobWriter,
): Promise<WrittenImage> {
  const configDescriptor = await putDocument(encodeImageConfig(config), mediaTypes.config, content)
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: configDescriptor,
    layers: layers.map(({ mediaType, digest, size }) => ({
      mediaType: ociLayerTypes[mediaType] ?? mediaType,
      digest,
      size,
    })),
  }
  const bytes = new TextEncoder().encode(JSON.stringify(manifest, null, 2))
  const descriptor = await putDocument(bytes, mediaTypes.manifest, content)
  const { architecture, os, variant } = config
  const platform = { architecture, os, ...(variant === undefined ? {} : { variant }) }
  return { descriptor: { ...descriptor, platform }, config: configDescriptor }
}

/** An OCI manifest names its layers by OCI types; the bytes are the same. */
const ociLayerTypes: Readonly<Record<string, string>> = {
  [mediaTypes.dockerLayer]: mediaTypes.layer,
  [mediaTypes.dockerLayerGzip]: mediaTypes.layerGzip,
}

async function putDocument(
  bytes: Uint8Array,
  mediaType: string,
  content: BlobWriter,
): Promise<Descriptor> {
  const { digest, size } = await putBlob(content, [bytes])
  return { mediaType, digest, size }
}
