/**
 * The layers of a finished stage as blobs.
 *
 * A layer is compressed only here, and only if no blob of it is known: those of a base image stay
 * as the base had them, unless the options force them.
 */
import type { Chunks } from '../../layerfs/compression/byte-source.ts'
import { decompress, detectEncoding } from '../../layerfs/compression/decompress.ts'
import { tocDigestAnnotation } from '../../layerfs/compression/estargz.ts'
import { layerTar } from '../../layerfs/image/layer-tar.ts'
import { diffLayer } from '../../layerfs/layer/diff.ts'
import type { Store } from '../../layerfs/store.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type ChainId, chainIds, type DiffId, parseDiffId, parseDigest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import { compressionOf, mediaTypes } from '../../oci/media-type.ts'
import { parallel } from '../../registry/client/parallel.ts'
import { firstOf } from '../../registry/client/registry-blobs.ts'
import type { BuildWorld } from '../build-request.ts'
import type { BuildResult } from '../build-result.ts'
import type { Filesystems } from '../filesystems.ts'
import { memo } from '../memo.ts'
import type { ImageOptions } from './image-options.ts'
import { layerTypes, lazyAnnotations, packLayer } from './pack-layer.ts'

export interface ImageLayer {
  /** Another than the snapshot's when its times were rewritten, and of an eStargz layer. */
  readonly diffId: DiffId
  readonly descriptor: Descriptor
}

type ExportWorld = Pick<BuildWorld, 'store' | 'signal'>

/** Each layer is a thread's work, and a moment of waiting for the disk. */
const layersAtOnce = 4

/**
 * Lowest first, with OCI's or Docker's media types. Blobs of known layers may still be where
 * {@link BuildResult.filesystems} has them.
 */
export async function imageLayers(
  { layers, filesystems, latest }: BuildResult,
  options: ImageOptions,
  { store, signal }: ExportWorld,
): Promise<ImageLayer[]> {
  const chains = chainIds(layers)
  const found: ImageLayer[] = []
  await parallel([...layers.entries()], { limit: layersAtOnce, signal }, async (entry, stop) => {
    const [index, diffId] = entry
    const chain = chains[index]
    if (chain === undefined) throw new Error('A layer without a chain ID')
    const clampTo = options.rewriteTimestamp ? secondsOf(latest) : undefined
    const making = { options, store, filesystems, signal: stop, ...field('clampTo', clampTo) }
    found[index] = await imageLayer({ chain, diffId }, making)
  })
  return found
}

function secondsOf(time: Date | undefined): number | undefined {
  return time === undefined ? undefined : time.getTime() / 1000
}

export interface LayerPlace {
  /** The filesystem that it is the topmost layer of. */
  readonly chain: ChainId
  readonly diffId: DiffId
}

export interface LayerMaking {
  readonly options: ImageOptions
  readonly store: Store
  readonly filesystems: Filesystems
  /** Seconds since 1970 that no file of the build's layers is later than. */
  readonly clampTo?: number
  readonly signal: AbortSignal
}

/** One of {@link imageLayers}. */
export async function imageLayer(place: LayerPlace, making: LayerMaking): Promise<ImageLayer> {
  const { diffId, descriptor } = await layerOf(place, making)
  return { diffId, descriptor: typed(descriptor, making.options) }
}

/** Those of a base, and those that a cache has, stay as they are unless the options say otherwise. */
function layerOf(place: LayerPlace, making: LayerMaking): Promise<ImageLayer> {
  const known = making.filesystems.find(place.diffId)
  if (known === undefined) return ownLayer(place, making)
  if (known.stack.origin === 'cache' && making.clampTo !== undefined)
    return diffedLayer(place, making)
  return knownLayer(known, making)
}

async function ownLayer(place: LayerPlace, making: LayerMaking): Promise<ImageLayer> {
  const { options, store, filesystems, clampTo, signal } = making
  const { compression, level } = options
  const isPlain = compression === 'gzip' || compression === 'none'
  if (!isPlain || clampTo !== undefined || level !== undefined) return diffedLayer(place, making)
  const made = filesystems.madeAs(place.chain)
  const descriptor = await store.layers.layerBlob(made, { compression, signal })
  return { diffId: place.diffId, descriptor }
}

function diffedLayer({ chain }: LayerPlace, making: LayerMaking): Promise<ImageLayer> {
  const { store, filesystems, clampTo, signal } = making
  return madeLayer(`${chain} ${clampTo ?? ''}`, making, async () => {
    const made = filesystems.madeAs(chain)
    await filesystems.materialize(made, signal)
    const { snapshots } = store
    const info = { ...(await snapshots.find(made)), name: made }
    return layerTar(info, { snapshots, diff: diffLayer, ...field('clampTo', clampTo) })
  })
}

async function knownLayer(known: ImageLayer, making: LayerMaking): Promise<ImageLayer> {
  const { compression, force, level } = making.options
  const { descriptor, diffId } = known
  const isWanted = isCompressedBy(compression, descriptor) && level === undefined
  if (!force || isWanted) return { descriptor, diffId }
  const { store, filesystems } = making
  const bytes = firstOf(store.content, filesystems.blobs)
  return madeLayer(descriptor.digest, making, () => unpacked(bytes.open(descriptor.digest)))
}

function isCompressedBy(
  compression: ImageOptions['compression'],
  { mediaType, annotations }: Descriptor,
): boolean {
  const isLazy = annotations?.[tocDigestAnnotation] !== undefined
  const found = compressionOf(mediaType)
  return compression === 'estargz' ? found === 'gzip' && isLazy : found === compression
}

async function unpacked(source: Chunks): Promise<Chunks> {
  const chunks = (async function* () {
    yield* source
  })()
  const { value: first } = await chunks.next()
  if (first === undefined) return []
  const rest = (async function* () {
    yield first
    yield* chunks
  })()
  return decompress(rest, detectEncoding(first))
}

/** Made once: what it became is remembered under `key` and the options. */
async function madeLayer(
  key: string,
  { options, store, signal }: LayerMaking,
  openTar: () => Promise<Chunks>,
): Promise<ImageLayer> {
  const memory = memo(store.records)
  const { compression, level } = options
  const memoKey = `layer blob\0${key}\0${compression}\0${level ?? ''}`
  const mediaType = layerTypes[compression]
  const known = decodeLayer(await memory.find(memoKey), mediaType)
  const blob = known && (await store.content.find(known.descriptor.digest))
  if (known !== undefined && blob?.size === known.descriptor.size) return known
  const packed = packLayer(untilAborted(await openTar(), signal), options)
  await using ingest = await store.content.ingest()
  for await (const chunk of packed.bytes) await ingest.write(chunk)
  const { digest, size } = await ingest.commit()
  const { diffId, annotations } = packed.described()
  const more = annotations === undefined ? {} : { annotations: JSON.stringify(annotations) }
  await memory.put(memoKey, { diffId, digest, size: String(size), ...more })
  return { diffId, descriptor: { mediaType, digest, size, ...field('annotations', annotations) } }
}

async function* untilAborted(chunks: Chunks, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    signal.throwIfAborted()
    yield chunk
  }
}

/** `undefined` for what a crash or another version left. */
function decodeLayer(
  value: Readonly<Record<string, string>> | undefined,
  mediaType: string,
): ImageLayer | undefined {
  try {
    const { diffId = '', digest = '', size = '', annotations = '{}' } = value ?? {}
    const described = lazyAnnotations(JSON.parse(annotations))
    return {
      diffId: parseDiffId(diffId),
      descriptor: { mediaType, digest: parseDigest(digest), size: Number(size), ...described },
    }
  } catch (error) {
    if (error instanceof OciError || error instanceof SyntaxError) return undefined
    throw error
  }
}

/** What the two vocabularies call the same bytes. */
const typePairs: readonly (readonly [oci: string, docker: string])[] = [
  [mediaTypes.layer, mediaTypes.dockerLayer],
  [mediaTypes.layerGzip, mediaTypes.dockerLayerGzip],
]

/** A manifest names its layers by the types of its own vocabulary. Throws `unsupported`. */
function typed(
  { mediaType, digest, size, annotations }: Descriptor,
  { types }: ImageOptions,
): Descriptor {
  const [from, to] = types === 'oci' ? [1, 0] : [0, 1]
  const type = typePairs.find(pair => pair[from] === mediaType)?.[to] ?? mediaType
  if (types === 'docker' && type === mediaTypes.layerZstd) {
    throw new OciError(
      'unsupported',
      `Layer ${digest} is compressed with zstd, for which Docker has no media type`,
      {
        hint: 'compress it again with force-compression=true, or leave oci-mediatypes=false out',
      },
    )
  }
  return { mediaType: type, digest, size, ...(types === 'oci' ? lazyAnnotations(annotations) : {}) }
}
