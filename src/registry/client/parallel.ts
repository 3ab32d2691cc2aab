/**
 * Runs `work` for every item, at most `limit` at a time, in order of the items.
 *
 * The first failure aborts the signal that `work` was given and is thrown once all running work
 * has ended, so that nothing goes on behind the caller's back.
 */
export async function parallel<T>(
  items: readonly T[],
  { limit, signal }: { readonly limit: number; readonly signal?: AbortSignal | undefined },
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController()
  const onAbort = () => stop.abort(signal?.reason)
  if (signal?.aborted) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  const queue = items.values()
  const worker = async () => {
    for (const item of queue) {
      stop.signal.throwIfAborted()
      await work(item, stop.signal)
    }
  }
  const guarded = () =>
    worker().catch(error => {
      stop.abort(error)
    })
  try {
    await Promise.all(Array.from({ length: Math.min(limit, items.length) }, guarded))
    stop.signal.throwIfAborted()
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}
