/** A layer's tar packed as an output wants it. */
import { createHash } from 'node:crypto'
import type { Chunks } from '../../layerfs/compression/byte-source.ts'
import { compressZstd } from '../../layerfs/compression/compress-zstd.ts'
import {
  estargz,
  tocDigestAnnotation,
  uncompressedSizeAnnotation,
} from '../../layerfs/compression/estargz.ts'
import { gzip } from '../../layerfs/compression/gzip.ts'
import { type DiffId, finishDiffId } from '../../oci/digest.ts'
import { field } from '../../oci/json.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import type { ImageOptions } from './image-options.ts'

export type LayerCompression = ImageOptions['compression']

export interface PackedLayer {
  readonly bytes: Chunks
  /** What the layer is named and described by; to be asked for behind the last of the bytes. */
  readonly described: () => LayerDescription
}

export interface LayerDescription {
  readonly diffId: DiffId
  readonly annotations?: Readonly<Record<string, string>>
}

export const layerTypes: Readonly<Record<LayerCompression, string>> = {
  gzip: mediaTypes.layerGzip,
  estargz: mediaTypes.layerGzip,
  zstd: mediaTypes.layerZstd,
  none: mediaTypes.layer,
}

export function packLayer(
  tar: Chunks,
  { compression, level }: Pick<ImageOptions, 'compression' | 'level'>,
): PackedLayer {
  if (compression === 'estargz') return packEstargz(tar, level)
  const hash = createHash('sha256')
  const hashed = (async function* () {
    for await (const chunk of tar) {
      hash.update(chunk)
      yield chunk
    }
  })()
  const pack = { gzip, zstd: compressZstd, none: (chunks: Chunks) => chunks }[compression]
  return {
    bytes: pack(hashed, field('level', level)),
    described: () => ({ diffId: finishDiffId(hash) }),
  }
}

function packEstargz(tar: Chunks, level: number | undefined): PackedLayer {
  let description: LayerDescription | undefined
  const bytes = estargz(tar, field('level', level), summary => {
    const annotations = {
      [tocDigestAnnotation]: summary.tocDigest,
      [uncompressedSizeAnnotation]: String(summary.uncompressedSize),
    }
    description = { diffId: summary.diffId, annotations }
  })
  return {
    bytes,
    described: () => {
      if (description === undefined) throw new Error('The layer is not packed yet')
      return description
    },
  }
}

/** Those of a layer's annotations that say how it can be read lazily. */
export function lazyAnnotations(annotations: Readonly<Record<string, string>> = {}): {
  readonly annotations?: Readonly<Record<string, string>>
} {
  const kept = Object.entries(annotations).filter(
    ([key]) => key === tocDigestAnnotation || key === uncompressedSizeAnnotation,
  )
  return kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }
}
