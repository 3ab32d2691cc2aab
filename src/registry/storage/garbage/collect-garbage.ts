/**
 * The garbage collector. It runs while clients push, pull and delete; docs/storage.md has the proof
 * that no acknowledged manifest misses a blob.
 */
import type { RepositoryName } from '../../../oci/reference.ts'
import { catalogPrefix, nameFromListed } from '../keys.ts'
import { listAll } from '../object-store.ts'
import type { RegistryStorage } from '../registry-storage.ts'
import { repositoriesWithContent } from '../repositories.ts'
import { expireUploads } from '../upload-expiry.ts'
import { collectBlobs, collectBytes } from './collect-blobs.ts'
import { collectRepository } from './collect-repository.ts'
import type { Collection, CollectOptions, GarbageEvent, GarbageKind } from './collection.ts'
import { tryLease } from './lease.ts'

export interface GarbageReport {
  /** What was removed, or in a dry run would be. */
  readonly removed: Readonly<Partial<Record<GarbageKind, number>>>
  readonly condemned: number
  readonly rescued: number
  /** Bytes that are free now. */
  readonly freed: number
  /** Repositories with a manifest that cannot be read: nothing in them was touched. */
  readonly damaged: readonly RepositoryName[]
}

/**
 * One run. Returns `undefined` when another process collects, and stops, throwing the signal's
 * reason, when the signal aborts or the other process took over: what was done until then stands.
 */
export async function collectGarbage(
  storage: RegistryStorage,
  options: CollectOptions,
): Promise<GarbageReport | undefined> {
  if (options.dryRun === true) return collect(storage, options)
  await using lease = await tryLease(storage)
  if (lease === undefined) return undefined
  const signals = [lease.lost, ...(options.signal === undefined ? [] : [options.signal])]
  return await collect(storage, { ...options, signal: AbortSignal.any(signals) })
}

async function collect(storage: RegistryStorage, options: CollectOptions): Promise<GarbageReport> {
  const tally = createTally()
  const run: Collection = {
    ...options,
    storage,
    startedAt: storage.now().getTime(),
    onEvent: event => {
      tally.add(event)
      options.onEvent?.(event)
    },
  }
  if (run.dryRun !== true) {
    const count = await expireUploads(storage, run.uploadExpiryMs)
    for (let i = 0; i < count; i++) run.onEvent?.({ kind: 'upload', action: 'remove' })
  }
  const damaged: RepositoryName[] = []
  for (const repository of await repositoriesOf(storage)) {
    if (!(await collectRepository(run, repository))) damaged.push(repository)
  }
  await collectBlobs(run)
  await collectBytes(run)
  return { ...tally.report(), damaged }
}

/** Those in the catalog, and those that have blobs or manifests and are in it no more, or not yet. */
async function repositoriesOf(storage: RegistryStorage): Promise<ReadonlySet<RepositoryName>> {
  const names = new Set<RepositoryName>()
  for await (const name of repositoriesWithContent(storage)) names.add(name)
  for await (const key of listAll(storage.objects, catalogPrefix)) {
    names.add(nameFromListed(key.slice(catalogPrefix.length)))
  }
  return names
}

interface Tally {
  add(event: GarbageEvent): void
  report(): Omit<GarbageReport, 'damaged'>
}

function createTally(): Tally {
  const removed: Partial<Record<GarbageKind, number>> = {}
  const counts = { condemn: 0, rescue: 0, freed: 0 }
  return {
    add: ({ kind, action, size }) => {
      if (action === 'remove') removed[kind] = (removed[kind] ?? 0) + 1
      else counts[action]++
      counts.freed += size ?? 0
    },
    report: () => ({
      removed,
      condemned: counts.condemn,
      rescued: counts.rescue,
      freed: counts.freed,
    }),
  }
}
