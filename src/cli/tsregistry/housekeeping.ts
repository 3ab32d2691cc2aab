/** What the server does by itself: collects garbage, at the start and then again and again. */
import type { Logger } from 'pino'
import {
  collectGarbage,
  type GarbageReport,
} from '../../registry/storage/garbage/collect-garbage.ts'
import type { CollectOptions } from '../../registry/storage/garbage/collection.ts'
import type { RegistryStorage } from '../../registry/storage/registry-storage.ts'
import { expireUploads } from '../../registry/storage/upload-expiry.ts'

export interface HousekeepingOptions extends CollectOptions {
  /** Between the end of one run and the start of the next; 0: garbage is not collected. */
  readonly intervalMs: number
  readonly log: Logger
  /** Asked before each run; default: never. */
  readonly isPaused?: () => boolean
  readonly onCollected?: (report: Pick<GarbageReport, 'removed' | 'freed'>) => void
}

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
  let running = tidy()
  const timer = setInterval(() => {
    running = running.then(tidy)
  }, intervalMs || everyMs)
  timer.unref()
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer)
      stop.abort()
      await running
    },
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
