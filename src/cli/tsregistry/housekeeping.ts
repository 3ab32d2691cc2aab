/** What the server does by itself: collects garbage, at the start and then again and again. */
import type { Logger } from 'pino'
import {
  collectGarbage,
  type GarbageReport,
} from '../../registry/storage/garbage/collect-garbage.ts'
import type { CollectOptions } from '../../registry/storage/garbage/collection.ts'
import type { RegistryStorage } from '../../registry/storage/registry-storage.ts'
import { expireUploads, staleUploads } from '../../registry/storage/upload-expiry.ts'

export interface HousekeepingOptions extends CollectOptions {
  /** Between the end of one run and the start of the next; 0: garbage is not collected. */
  readonly intervalMs: number
  readonly log: Logger
  /** Asked before each run; default: never. */
  readonly isPaused?: () => boolean
  /** A look at the uploads alone, at another interval. */
  readonly purging?: Purging | undefined
  readonly onCollected?: (report: Pick<GarbageReport, 'removed' | 'freed'>) => void
}

export interface Purging {
  readonly ageMs: number
  readonly everyMs: number
  /** Says what would go, and lets it be. */
  readonly isDryRun: boolean
}

/** What a timer can wait; one that is to wait longer would not wait at all. */
const longestTimerMs = 2 ** 31 - 1

/** Without garbage collection uploads expire all the same. */
const everyMs = 3600_000

/** Failures are logged; the next time tries again. Disposing waits for the run under way to stop. */
export function startHousekeeping(
  storage: RegistryStorage,
  options: HousekeepingOptions,
): AsyncDisposable {
  const { intervalMs, log } = options
  const stop = new AbortController()
  const tidy = async () => {
    if (options.isPaused?.() === true) return
    try {
      if (intervalMs === 0) await expireUploads(storage, options.uploadExpiryMs)
      else await collect(storage, { ...options, signal: stop.signal })
    } catch (error) {
      if (!stop.signal.aborted) log.error({ err: error }, 'housekeeping failed')
    }
  }
  const purge = async () => {
    if (options.purging === undefined || options.isPaused?.() === true) return
    try {
      await purgeUploads(storage, { ...options.purging, log, signal: stop.signal })
    } catch (error) {
      if (!stop.signal.aborted) log.error({ err: error }, 'purging uploads failed')
    }
  }
  let running = tidy().then(purge)
  const repeat = (work: () => Promise<void>, ms: number) => {
    const timer = setInterval(
      () => {
        running = running.then(work)
      },
      Math.min(ms, longestTimerMs),
    )
    return timer.unref()
  }
  const timers = [
    repeat(tidy, intervalMs || everyMs),
    ...(options.purging === undefined ? [] : [repeat(purge, options.purging.everyMs)]),
  ]
  return {
    [Symbol.asyncDispose]: async () => {
      for (const timer of timers) clearInterval(timer)
      stop.abort()
      await running
    },
  }
}

async function purgeUploads(
  storage: RegistryStorage,
  purging: Purging & { readonly log: Logger; readonly signal: AbortSignal },
): Promise<void> {
  const { ageMs, isDryRun, log, signal } = purging
  if (!isDryRun) {
    const uploads = await expireUploads(storage, ageMs)
    if (uploads > 0) log.info({ uploads }, 'purged uploads')
    return
  }
  for await (const { id, repository, checkpoint, touchedAt } of staleUploads(storage, ageMs)) {
    signal.throwIfAborted()
    log.info({ upload: id, repository, bytes: checkpoint.size, touchedAt }, 'would purge an upload')
  }
}

async function collect(storage: RegistryStorage, options: HousekeepingOptions): Promise<void> {
  const { log } = options
  const report = await collectGarbage(storage, options)
  if (report === undefined) return
  options.onCollected?.(report)
  const { removed, condemned, freed, damaged } = report
  if (Object.keys(removed).length + condemned > 0) {
    log.info({ removed, condemned, freed }, 'collected garbage')
  }
  if (damaged.length > 0) log.error({ repositories: damaged }, 'found damaged manifests')
}
