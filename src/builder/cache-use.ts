/** What the build cache holds: filesystems that steps made, their age and their size on the disk. */
import { DiskMeter } from '../layerfs/content/disk-use.ts'
import { referredTo, targetsOf } from '../layerfs/image/prune.ts'
import type { SnapshotInfo } from '../layerfs/snapshot/snapshotter.ts'
import type { Store } from '../layerfs/store.ts'
import type { ChainId, DiffId } from '../oci/digest.ts'
import { rememberedSteps } from './forget-steps.ts'

export interface CachedLayer {
  readonly name: ChainId
  /** When a step that needs it was last made, or found. */
  readonly usedAt: Date
  /** Of the layer alone and its compressed forms, on the disk. */
  readonly bytes: number
  /** Whether an image, a container or a running build needs it too: then forgetting frees nothing. */
  readonly isShared: boolean
  /** `base`: of an image that a step started from. */
  readonly kind: 'step' | 'base'
}

/** Latest first. */
export async function cachedLayers(store: Store): Promise<CachedLayer[]> {
  const all = new Map<ChainId, SnapshotInfo>()
  for await (const info of store.snapshots.list()) all.set(info.name, info)
  const used = new Map<ChainId, Date>()
  const heads = new Set<ChainId>()
  for await (const { chain, usedAt } of rememberedSteps(store.records)) {
    heads.add(chain)
    for (const name of withAncestors([chain], all)) {
      if (usedAt.getTime() >= (used.get(name)?.getTime() ?? 0)) used.set(name, usedAt)
    }
  }
  const images = await referredTo(await targetsOf(store), store.unheld)
  const shared = new Set(
    withAncestors([...images.chains, ...(await store.snapshots.parentsInUse())], all),
  )
  const layers: CachedLayer[] = []
  for (const [name, usedAt] of used) {
    const bytes = await bytesOf(store, name, all.get(name)?.diffId)
    const kind = heads.has(name) ? 'step' : 'base'
    layers.push({ name, usedAt, bytes, isShared: shared.has(name), kind })
  }
  return layers.sort((a, b) => b.usedAt.getTime() - a.usedAt.getTime())
}

async function bytesOf(
  { snapshots, layers, content }: Store,
  name: ChainId,
  diffId: DiffId | undefined,
): Promise<number> {
  const meter = new DiskMeter()
  let bytes = await snapshots.bytesOf(name)
  for (const { digest } of diffId === undefined ? [] : await layers.blobsOf(diffId)) {
    bytes += meter.measureOne(content.pathOf(digest)).bytes
  }
  return bytes
}

function* withAncestors(
  names: Iterable<ChainId>,
  all: ReadonlyMap<ChainId, SnapshotInfo>,
): Generator<ChainId> {
  for (const name of names) {
    for (let next = all.get(name); next !== undefined; ) {
      yield next.name
      next = next.parent === undefined ? undefined : all.get(next.parent)
    }
  }
}

export interface SpaceWishes {
  readonly maxUsed: number | undefined
  readonly minFree: number | undefined
  /** Is left to the cache whatever the others say; alone it is the most that is left. */
  readonly reserved: number | undefined
  /** Of the disk, now. */
  readonly freeBytes: number
}

/** How much the cache may hold that nothing else needs (BuildKit's GC policies). */
export function mostBytes(
  layers: readonly CachedLayer[],
  { maxUsed, minFree, reserved, freeBytes }: SpaceWishes,
): number {
  const used = layers.reduce((sum, { isShared, bytes }) => sum + (isShared ? 0 : bytes), 0)
  const toFree =
    minFree === undefined ? undefined : Math.max(0, used - Math.max(0, minFree - freeBytes))
  const limits = [maxUsed, toFree].filter(limit => limit !== undefined)
  if (limits.length === 0) return reserved ?? Number.POSITIVE_INFINITY
  return Math.max(reserved ?? 0, Math.min(...limits))
}

/**
 * Steps last used before this have to be forgotten for the cache to hold at most `maxBytes` that
 * nothing else needs. `layers`: latest first.
 */
export function cutoffFor(layers: readonly CachedLayer[], maxBytes: number): Date {
  let bytes = 0
  for (const layer of layers) {
    if (!layer.isShared) bytes += layer.bytes
    // Also what was remembered in the same moment.
    if (bytes > maxBytes) return new Date(layer.usedAt.getTime() + 1)
  }
  return new Date(0)
}
