/**
 * Unpacking: the layers of an image from blobs to committed snapshots.
 *
 *   layer 1  arrived ─► lock ─► stage ─► extract ────────► settle ─► commit ─┐
 *   layer 2  arrived ─► lock ─► stage ─► extract ── waits for 1 ─────────────► settle ─► commit ─┐
 *   layer 3  arrived ─► lock ─► stage ─► extract …
 *
 * 1. Layers are extracted side by side, in threads, each into a directory of its own; what depends
 *    on the layers below is settled once those are committed (layer/unpack-pool.ts).
 * 2. A layer is unpacked once, however many processes ask: its lock is held until it is committed.
 *    It is asked for once the blob is here. No two wait for each other: who holds one waits for
 *    lower layers alone, and a download for no layer.
 * 3. Only a layer whose bytes hash to the config's diff ID is committed.
 * 4. After a failure the layers below it that were finished stay, and nothing else.
 */
import { setMaxListeners } from 'node:events'
import { join } from 'node:path'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type ChainId, chainIds, type DiffId, type Digest, hexOf } from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { ImageConfig } from '../../oci/image-config.ts'
import { field } from '../../oci/json.ts'
import type { Manifest } from '../../oci/manifest.ts'
import { isIntact } from '../content/blob-file.ts'
import type { ContentStore } from '../content/content-store.ts'
import { withLock } from '../content/file-lock.ts'
import type { UntilArrived } from '../content/while-arriving.ts'
import { openUnpackPool, type UnpackPool } from '../layer/unpack-pool.ts'
import type { SnapshotInfo, Snapshotter } from '../snapshot/snapshotter.ts'
import type { LayerBlobs } from './layer-blobs.ts'

export interface UnpackPlace {
  readonly content: ContentStore
  readonly snapshots: Snapshotter
  readonly layers: LayerBlobs
  readonly locks: string
}

export type UnpackEvent =
  | { readonly kind: 'unpacking'; readonly layer: Descriptor }
  /** Also for one that another process unpacked meanwhile. */
  | { readonly kind: 'unpacked'; readonly layer: Descriptor }

export interface UnpackOptions {
  readonly signal?: AbortSignal
  /** Waits for blobs that are still on their way; absent: all are here. */
  readonly arrived?: UntilArrived
  readonly onEvent?: (event: UnpackEvent) => void
}

export interface UnpackedImage {
  readonly manifest: Manifest
  readonly config: ImageConfig
}

/**
 * The chain ID of the image's filesystem; `undefined` for an image without layers. Layers that are
 * unpacked already cost nothing, and their blobs may be missing. Throws `not-found` for a missing
 * blob, `digest-mismatch`, and `invalid` for a damaged layer or a config with other layers.
 */
export async function unpackImage(
  image: UnpackedImage,
  place: UnpackPlace,
  options: UnpackOptions = {},
): Promise<ChainId | undefined> {
  return unpackStack(layersOf(image), place, options)
}

/** A layer as it was received, and what its tar is to be. */
export interface StackedLayer {
  readonly diffId: DiffId
  readonly descriptor: Descriptor
}

/** As {@link unpackImage}, of layers without an image around them; lowest first. */
export async function unpackStack(
  stack: readonly StackedLayer[],
  place: UnpackPlace,
  options: UnpackOptions = {},
): Promise<ChainId | undefined> {
  const names = chainIds(stack.map(({ diffId }) => diffId))
  const layers = stack.map(({ diffId, descriptor }, i) => ({
    descriptor,
    info: snapshotInfo(names[i], diffId, names[i - 1]),
  }))
  await unpackAll(await missingLayers(layers, place), place, options)
  return names.at(-1)
}

/** How many of the lowest layers are unpacked already. */
export async function countUnpacked(
  diffIds: readonly DiffId[],
  { snapshots }: Pick<UnpackPlace, 'snapshots'>,
): Promise<number> {
  const names = chainIds(diffIds)
  // A committed snapshot's ancestors are committed, so the search goes from the top.
  for (let count = names.length; count > 0; count--) {
    const top = names[count - 1]
    if (top !== undefined && (await snapshots.find(top)) !== undefined) return count
  }
  return 0
}

interface Layer {
  readonly info: SnapshotInfo
  readonly descriptor: Descriptor
}

function layersOf({ manifest, config }: UnpackedImage): StackedLayer[] {
  const diffIds = config.rootfs.diff_ids
  if (manifest.layers.length !== diffIds.length) {
    throw new OciError(
      'invalid',
      `Cannot unpack image: its manifest has ${manifest.layers.length} layers, its config ${diffIds.length}`,
    )
  }
  return manifest.layers.map((descriptor, i) => ({ descriptor, diffId: diffIds[i] as DiffId }))
}

function snapshotInfo(
  name: ChainId | undefined,
  diffId: DiffId,
  parent: ChainId | undefined,
): SnapshotInfo {
  if (name === undefined) throw new Error('A layer without its chain ID')
  return parent === undefined ? { name, diffId } : { name, diffId, parent }
}

async function missingLayers(layers: readonly Layer[], place: UnpackPlace): Promise<Layer[]> {
  const diffIds = layers.map(({ info }) => info.diffId)
  return layers.slice(await countUnpacked(diffIds, place))
}

/** Each has a directory and two descriptors open; an image can have 500. */
const mostAtOnce = 16

/**
 * From the lowest up, some at a time; the first failure stops the others, and is thrown when all
 * have stopped.
 */
async function unpackAll(
  layers: readonly Layer[],
  place: UnpackPlace,
  options: UnpackOptions,
): Promise<void> {
  if (layers.length === 0) return
  await using pool = openUnpackPool()
  const stop = new AbortController()
  const signals = options.signal === undefined ? [] : [options.signal]
  const signal = AbortSignal.any([stop.signal, ...signals])
  // It lives as long as this call, and every layer listens: more than ten are no leak to warn of.
  setMaxListeners(0, signal)
  const job = { place, pool, options: { ...options, signal } }
  const done: Promise<void>[] = []
  let failure: { readonly error: unknown } | undefined
  const tasks = layers.map((layer, i) => {
    const turn = done[i - mostAtOnce] ?? Promise.resolve()
    const below = done[i - 1] ?? Promise.resolve()
    const unpacked = turn.then(() => unpackLayer(layer, below, job))
    done.push(unpacked)
    return unpacked.catch((error: unknown) => {
      failure ??= { error }
      stop.abort(error)
    })
  })
  await Promise.all(tasks)
  if (failure !== undefined) throw failure.error
}

interface UnpackJob {
  readonly place: UnpackPlace
  readonly pool: UnpackPool
  readonly options: UnpackOptions & { readonly signal: AbortSignal }
}

async function unpackLayer(layer: Layer, below: Promise<void>, job: UnpackJob): Promise<void> {
  const { place, options } = job
  const { info, descriptor } = layer
  const lock = join(place.locks, `unpack-${hexOf(info.name)}`)
  await options.arrived?.(descriptor.digest, options.signal)
  options.onEvent?.({ kind: 'unpacking', layer: descriptor })
  await withLock(lock, { mode: 'exclusive', signal: options.signal }, async () => {
    // Another process may have been first.
    if ((await place.snapshots.find(info.name)) === undefined) await unpack(layer, below, job)
  })
  options.onEvent?.({ kind: 'unpacked', layer: descriptor })
}

async function unpack(layer: Layer, below: Promise<void>, job: UnpackJob): Promise<void> {
  const { snapshots, content } = job.place
  const { info, descriptor } = layer
  const { digest, size } = descriptor
  if ((await content.find(digest)) === undefined) {
    throw new OciError('not-found', `Cannot unpack layer ${digest}: not in the store`, {
      hint: 'pull the image again',
    })
  }
  await using staged = await snapshots.stage()
  try {
    await job.pool.apply({
      blob: content.pathOf(digest),
      target: staged.upper,
      expected: { digest, size, diffId: info.diffId },
      lower: async () => {
        await below
        return info.parent === undefined ? [] : await snapshots.layers(info.parent)
      },
      signal: job.options.signal,
    })
  } catch (error) {
    if (hasCode(error, 'digest-mismatch')) await removeDamaged(digest, content, error)
    return aboutLayer(digest)(error)
  }
  // Only now is it known that the blob is this layer: what an image says of a layer that is here
  // already is not believed. And before the commit: fsck asks of a received layer what it came from.
  await job.place.layers.recordLayer(info.diffId, descriptor)
  await snapshots.commit(staged, info)
}

/** For `catch`: says of which layer something is wrong, unless it does already. */
export function aboutLayer(digest: Digest): (error: unknown) => never {
  return error => {
    if (!(error instanceof OciError) || error.message.includes(digest)) throw error
    const { code, message, hint } = error
    const [first = '', ...rest] = message
    const text = `Cannot unpack layer ${digest}: ${first.toLowerCase()}${rest.join('')}`
    throw new OciError(code, text, { cause: error, ...field('hint', hint) })
  }
}

/** So that the next pull fetches it: nobody can use what is not its name's bytes. */
async function removeDamaged(digest: Digest, content: ContentStore, cause: unknown): Promise<void> {
  const blob = await content.find(digest)
  if (blob === undefined || (await isIntact(content.pathOf(digest), blob))) return
  await content.remove(digest)
  throw new OciError(
    'digest-mismatch',
    `Cannot unpack layer ${digest}: its file in the store was damaged, and is removed`,
    { cause, hint: 'pull the image again' },
  )
}
