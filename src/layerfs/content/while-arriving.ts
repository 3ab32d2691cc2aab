/**
 * Working with blobs while others are still on their way into the store.
 *
 *   bring   blob 1 ──► blob 2 ──► blob 3 …    tells of each that the store has
 *   use       └─► layer 1  └─► layer 2 …      waits for the one that it needs
 *
 * 1. Who fails first stops the other; that failure is thrown once both have ended.
 * 2. `bring` never waits for `use`: a layer may hold a lock that another process waits for while
 *    both download, but no download waits for a layer.
 */
import { EventEmitter, once } from 'node:events'
import type { Digest } from '../../oci/digest.ts'

/** Is told of a blob once the store has it, verified. */
export type OnBlob = (digest: Digest) => void

/** Waits for a blob; at once for one that is not on its way. Throws the signal's reason. */
export type UntilArrived = (digest: Digest, signal: AbortSignal) => Promise<void>

export interface BothSides<T> {
  /** The blobs on their way. */
  readonly coming: Iterable<Digest>
  readonly bring: (onBlob: OnBlob, signal: AbortSignal) => Promise<unknown>
  readonly use: (arrived: UntilArrived, signal: AbortSignal) => Promise<T>
  readonly signal?: AbortSignal | undefined
}

/** What `use` gives. Throws what either side throws, or the signal's reason. */
export async function whileArriving<T>({ coming, bring, use, signal }: BothSides<T>): Promise<T> {
  const missing = new Set(coming)
  // Layers may wait for one blob together, any number of them.
  const arrivals = new EventEmitter().setMaxListeners(0)
  const onBlob: OnBlob = digest => {
    if (missing.delete(digest)) arrivals.emit(digest)
  }
  const arrived: UntilArrived = async (digest, stop) => {
    stop.throwIfAborted()
    if (missing.has(digest)) await once(arrivals, digest, { signal: stop }).catch(reasonOf(stop))
  }
  return await bothOrNone(
    async stop => {
      await bring(onBlob, stop)
      // One that was not told of would be waited for without end.
      for (const digest of [...missing]) onBlob(digest)
    },
    stop => use(arrived, stop),
    signal,
  )
}

/** Instead of the error without a meaning that `once` makes of it. */
function reasonOf(signal: AbortSignal) {
  return (error: unknown): never => {
    signal.throwIfAborted()
    throw error
  }
}

async function bothOrNone<T>(
  bring: (signal: AbortSignal) => Promise<void>,
  use: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  const stop = new AbortController()
  const either = AbortSignal.any(signal === undefined ? [stop.signal] : [stop.signal, signal])
  const stopOther = (error: unknown) => {
    stop.abort(error)
    throw error
  }
  const [brought, used] = await Promise.allSettled([
    bring(either).catch(stopOther),
    use(either).catch(stopOther),
  ])
  if (brought.status === 'fulfilled' && used.status === 'fulfilled') return used.value
  signal?.throwIfAborted()
  // Only the first failure could abort: it is the reason.
  throw stop.signal.reason
}
