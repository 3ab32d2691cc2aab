/**
 * LayerBlobs: a layer's bytes as a registry wants them, made no earlier than somebody asks.
 *
 * A layer that came from a registry is handed on as it came: compressing it again would give it
 * another digest, and every registry that has it would have to take it again.
 */
import { createHash, type Hash } from 'node:crypto'
import { join } from 'node:path'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type ChainId, type DiffId, finishDiffId, hexOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import { compressionOf, mediaTypes } from '../../oci/media-type.ts'
import { gzip } from '../compression/gzip.ts'
import type { BlobInfo, ContentStore } from '../content/content-store.ts'
import { withLock } from '../content/file-lock.ts'
import type { Hold } from '../content/leases.ts'
import type { SnapshotInfo, Snapshotter } from '../snapshot/snapshotter.ts'
import {
  addLayerRecord,
  type LayerRecord,
  readLayerRecords,
  removeOtherRecords,
} from './layer-records.ts'
import { type LayerDiff, layerTar } from './layer-tar.ts'

export interface LayerBlobOptions {
  /** Of a blob that has to be made; a layer that was received stays as it is. Default: gzip. */
  readonly compression?: 'gzip' | 'none'
  /** Of gzip: 0 to 9. */
  readonly level?: number
  readonly signal?: AbortSignal
}

export interface LayerBlobs {
  /** The blob of a layer, if one is known and in the store. Reads no layer. */
  find(diffId: DiffId, options?: LayerBlobOptions): Promise<Descriptor | undefined>
  /**
   * The blob of the topmost layer of `name`, made when there is none. Throws `not-found` without
   * such a snapshot, and `digest-mismatch` when its files no longer make the tar it is named after.
   */
  layerBlob(name: ChainId, options?: LayerBlobOptions): Promise<Descriptor>
  /** Remembers that `descriptor` is how the layer was received. */
  recordLayer(diffId: DiffId, descriptor: Descriptor): Promise<void>
  /** All blobs known to hold a layer, in the store or not. */
  blobsOf(diffId: DiffId): Promise<Descriptor[]>
  /** Forgets the blobs of all layers but these. */
  forgetOthers(layers: ReadonlySet<DiffId>): Promise<void>
}

export interface LayerBlobsPlace {
  /** Of the records; their locks are beside it. */
  readonly directory: string
  readonly locks: string
  readonly content: ContentStore
  readonly snapshots: Snapshotter
  readonly diff: LayerDiff
  readonly hold: Hold
}

export function openLayerBlobs(place: LayerBlobsPlace): LayerBlobs {
  return {
    find: (diffId, options) => findBlob(place, diffId, options),
    layerBlob: (name, options) => findOrMake(place, name, options),
    recordLayer: async (diffId, descriptor) => {
      await place.hold({ kind: 'layer', diffId })
      await addLayerRecord(place, diffId, { origin: 'received', descriptor })
    },
    blobsOf: async diffId =>
      (await readLayerRecords(place.directory, diffId)).map(({ descriptor }) => descriptor),
    forgetOthers: layers => removeOtherRecords(place.directory, layers),
  }
}

async function findBlob(
  place: LayerBlobsPlace,
  diffId: DiffId,
  options: LayerBlobOptions = {},
): Promise<Descriptor | undefined> {
  for (const record of await readLayerRecords(place.directory, diffId)) {
    if (!isWanted(record, options)) continue
    const blob = await place.content.find(record.descriptor.digest)
    if (blob?.size === record.descriptor.size) return record.descriptor
  }
  return undefined
}

function isWanted({ origin, descriptor }: LayerRecord, options: LayerBlobOptions): boolean {
  if (origin === 'received') return true
  return compressionOf(descriptor.mediaType) === (options.compression ?? 'gzip')
}

async function findOrMake(
  place: LayerBlobsPlace,
  name: ChainId,
  options: LayerBlobOptions = {},
): Promise<Descriptor> {
  const info = await place.snapshots.find(name)
  if (info === undefined) {
    throw new OciError('not-found', `Cannot read snapshot ${name}: not in the store`)
  }
  const { diffId } = info
  const known = await findBlob(place, diffId, options)
  if (known !== undefined) return known
  const lock = join(place.locks, `layer-${hexOf(diffId)}`)
  const { signal } = options
  const request = { mode: 'exclusive', ...(signal === undefined ? {} : { signal }) } as const
  return withLock(lock, request, async () => {
    // Another may have made it while we waited.
    const made = await findBlob(place, diffId, options)
    return made ?? (await makeBlob(place, info, options))
  })
}

async function makeBlob(
  place: LayerBlobsPlace,
  layer: SnapshotInfo,
  options: LayerBlobOptions,
): Promise<Descriptor> {
  const compression = options.compression ?? 'gzip'
  const hash = createHash('sha256')
  const { snapshots, diff } = place
  const layerPlace = { snapshots, diff, ...field('clampTo', layer.clampTo) }
  const tar = hashed(await layerTar(layer, layerPlace), hash, options.signal)
  const level = options.level === undefined ? {} : { level: options.level }
  const bytes = compression === 'gzip' ? gzip(tar, level) : tar
  const blob = await storeVerified(place.content, bytes, () => assertSame(layer, hash))
  const mediaType = compression === 'gzip' ? mediaTypes.layerGzip : mediaTypes.layer
  const descriptor = { mediaType, digest: blob.digest, size: blob.size }
  await addLayerRecord(place, layer.diffId, { origin: 'made', descriptor })
  return descriptor
}

async function* hashed(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  hash: Hash,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    signal?.throwIfAborted()
    hash.update(chunk)
    yield chunk
  }
}

/** Stores `chunks` if `verify`, called after the last of them, throws nothing. */
async function storeVerified(
  content: ContentStore,
  chunks: AsyncIterable<Uint8Array>,
  verify: () => void,
): Promise<BlobInfo> {
  await using ingest = await content.ingest()
  for await (const chunk of chunks) await ingest.write(chunk)
  verify()
  return await ingest.commit()
}

function assertSame(layer: SnapshotInfo, hash: Hash): void {
  const found = finishDiffId(hash)
  if (found === layer.diffId) return
  throw new OciError(
    'digest-mismatch',
    `Cannot make the blob of snapshot ${layer.name}: expected its tar to be ${layer.diffId}, got ${found}`,
    { hint: 'the blob it came from was removed; pull or build the image again' },
  )
}
