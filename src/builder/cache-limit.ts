/**
 * The limit of the build cache, which builds keep by themselves: before they begin, while steps
 * run, and when they have ended.
 *
 * What was not used for longest goes first. Nothing goes that a running build, an image or a
 * container needs (layerfs/content/leases.ts). Layers are measured once and their sizes kept beside them, so a look costs as much as
 * there are steps, not files.
 */
import { statfsSync } from 'node:fs'
import { usedBy } from '../layerfs/image/prune.ts'
import type { SnapshotInfo } from '../layerfs/snapshot/snapshotter.ts'
import type { Store } from '../layerfs/store.ts'
import { hasCode } from '../oci/errors.ts'
import { asSize, field, member } from '../oci/json.ts'
import { cachedLayers, cutoffFor, mostBytes } from './cache-use.ts'
import { forgetSteps } from './forget-steps.ts'

export interface CacheLimits {
  readonly maxUsed: number
  readonly minFree: number
  readonly reserved: number
}

const gigabyte = 1e9

/** BuildKit's defaults. `maxUsed`: what the user says; it is then what is reserved at most, too. */
export function cacheLimits(diskBytes: number, maxUsed?: number): CacheLimits {
  const most = maxUsed ?? Math.min(diskBytes * 0.8, 100 * gigabyte)
  return {
    maxUsed: most,
    minFree: diskBytes * 0.2,
    reserved: Math.min(diskBytes * 0.1, 10 * gigabyte, most),
  }
}

export interface CacheKeeper {
  /** To be called before anything of the store is used, and when all of it is done. */
  keep(when: 'before' | 'after'): Promise<void>
  /** A step has added something. Returns at once; `keep` waits for what this began. */
  grown(): void
}

/** What other builds may have found just now; records are touched once a minute. */
const graceMs = 2 * 60_000
const betweenLooksMs = 10_000
/** For so long a build that adds nothing believes what the last one found. */
const freshMs = 60 * 60_000

const recordKind = 'limit'
const recordKey = '00'

/** `maxUsed`: see {@link cacheLimits}. */
export function cacheKeeper(
  store: Store,
  { maxUsed }: { readonly maxUsed: number | undefined },
): CacheKeeper {
  const begun = Date.now()
  let hasGrown = false
  let lookedAt = begun
  let running: Promise<void> = Promise.resolve()
  const look = async (when: 'idle' | 'at-work') => {
    const { blocks, bfree, bavail, bsize } = statfsSync(store.root)
    const limits = cacheLimits(blocks * bsize, maxUsed)
    const freeBytes = bavail * bsize
    // The cache is no larger than all that is on its disk: then no layer need be measured.
    const isWithin = freeBytes >= limits.minFree && (blocks - bfree) * bsize <= limits.maxUsed
    if (!isWithin) {
      const layers = await cachedLayers(store)
      const bySize = cutoffFor(layers, mostBytes(layers, { ...limits, freeBytes }))
      // What this build has found so far is not to be run again because of it.
      const latest = new Date(begun - graceMs)
      const before = when === 'at-work' && bySize > latest ? latest : bySize
      if (before.getTime() > 0) await trim(store, before)
    }
    const value = { checkedAt: Date.now(), ...field('maxUsed', maxUsed) }
    await store.records.put(recordKind, recordKey, value)
  }
  return {
    keep: async when => {
      await running
      if (when === 'before' ? await isFresh(store, maxUsed) : !hasGrown) return
      // Nothing is in use yet, or any more.
      store.letGo()
      await unlessBusy(() => look('idle'))
    },
    grown: () => {
      // Should this build fail, the next one looks for itself.
      if (!hasGrown) running = running.then(() => store.records.remove(recordKind, recordKey))
      hasGrown = true
      if (Date.now() - lookedAt < betweenLooksMs) return
      lookedAt = Date.now()
      // What stands in the way of it is told when the build has ended.
      running = running.then(() => look('at-work')).catch(() => {})
    },
  }
}

async function isFresh({ records }: Store, maxUsed: number | undefined): Promise<boolean> {
  const value = await records.get(recordKind, recordKey)
  const node = { document: 'cache limit', path: '', value }
  try {
    const age = Date.now() - asSize(member(node, 'checkedAt'))
    const last = member(node, 'maxUsed').value
    return age >= 0 && age < freshMs && last === maxUsed
  } catch (error) {
    if (!hasCode(error, 'invalid')) throw error
    return false
  }
}

/** Somebody else cleans up: who builds next sees what is left to do. */
async function unlessBusy(task: () => Promise<void>): Promise<void> {
  try {
    await task()
  } catch (error) {
    if (!hasCode(error, 'conflict')) throw error
  }
}

/**
 * Forgets the steps from before `before` and discards the layers that only they need, at once: the
 * limit is of the disk. Throws `conflict` while another process cleans up.
 */
async function trim(store: Store, before: Date): Promise<void> {
  await store.collect(async held => {
    const { chains } = await forgetSteps(store.records, { before, held: held.snapshots })
    const used = await usedBy(store, held)
    const removed = await store.snapshots.prune([...chains, ...used.chains])
    await discardBlobs(store, removed, used.blobs)
  })
  await store.trash.empty()
}

/** Compressed forms of layers that are gone. */
async function discardBlobs(
  { snapshots, layers, unheld, trash }: Store,
  removed: readonly SnapshotInfo[],
  used: ReadonlySet<string>,
): Promise<void> {
  const gone = new Set(removed.map(({ diffId }) => diffId))
  for await (const { diffId } of snapshots.list()) gone.delete(diffId)
  for (const diffId of gone) {
    for (const { digest } of await layers.blobsOf(diffId)) {
      if (!used.has(digest)) await trash.discard(unheld.pathOf(digest))
    }
  }
}
