/**
 * A finished stage as an image in the content store: layers, config, manifest.
 *
 * A layer is compressed only here, and only if no blob of it is known: those of a base image stay
 * as the base had them.
 */
import { putDocument, putManifest } from '../../layerfs/image/write-manifest.ts'
import type { Store } from '../../layerfs/store.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { chainIds } from '../../oci/digest.ts'
import { encodeImageConfig } from '../../oci/image-config.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import type { BuildResult } from '../build.ts'

export interface WrittenImage {
  /** Of the manifest. */
  readonly descriptor: Descriptor
  /** Of the config; its digest is the image ID. */
  readonly config: Descriptor
}

export async function writeImage(
  { config, layers, bases }: BuildResult,
  store: Store,
  signal: AbortSignal,
): Promise<WrittenImage> {
  const chains = chainIds(layers)
  await bases.fetchLayers(layers, signal)
  const descriptors: Descriptor[] = []
  for (const [index, layer] of layers.entries()) {
    const chain = chains[index]
    if (chain === undefined) throw new Error('A layer without a chain ID')
    const known = bases.descriptorOf(layer)
    const descriptor = known ?? (await store.layers.layerBlob(chain, { signal }))
    descriptors.push(asOciLayer(descriptor))
  }
  const written = await putDocument(encodeImageConfig(config), mediaTypes.config, store.content)
  const manifest = await putManifest(written, descriptors, store.content)
  const { architecture, os, variant } = config
  const platform = { architecture, os, ...(variant === undefined ? {} : { variant }) }
  return { descriptor: { ...manifest, platform }, config: written }
}

/** An OCI manifest names its layers by OCI types; the bytes are the same. */
const ociLayerTypes: Readonly<Record<string, string>> = {
  [mediaTypes.dockerLayer]: mediaTypes.layer,
  [mediaTypes.dockerLayerGzip]: mediaTypes.layerGzip,
}

function asOciLayer({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType: ociLayerTypes[mediaType] ?? mediaType, digest, size }
}
