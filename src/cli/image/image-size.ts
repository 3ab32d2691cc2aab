import type { ImageDocuments } from '../../layerfs/runtime/local-image.ts'

/** Bytes of an image as it is stored and sent: its layers are compressed. */
export function imageSize({ manifest }: Pick<ImageDocuments, 'manifest'>): number {
  const { config, layers } = manifest.value
  return [config, ...layers].reduce((sum, { size }) => sum + size, manifest.bytes.byteLength)
}
