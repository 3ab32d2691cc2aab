/** Whether requests should be sent here now: the storage answers, and the server is not stopping. */
import { setTimeout as sleep } from 'node:timers/promises'
import { leaderKey } from '../../storage/keys.ts'
import type { ObjectReader } from '../../storage/object-store.ts'

export interface Health {
  /** From now on never ready: load balancers send the next clients elsewhere. */
  drain(): void
  /** `undefined` when ready, else why not. Never throws. */
  whyNotReady(): Promise<string | undefined>
}

/** Shorter than what waits for the page gives it. */
const patienceMs = 2000
const freshMs = 1000

/**
 * The storage is asked at most once a second, however often the probes come. `mayWrite`: whether it
 * is ours to write, where only one may.
 */
export function createHealth(objects: ObjectReader, mayWrite = () => true): Health {
  let isDraining = false
  let last: { readonly at: number; readonly answer: Promise<string | undefined> } | undefined
  return {
    drain: () => {
      isDraining = true
    },
    whyNotReady: async () => {
      if (isDraining) return 'stopping'
      if (!mayWrite()) return 'another process may be writing'
      if (last === undefined || Date.now() - last.at > freshMs) {
        last = { at: Date.now(), answer: askStorage(objects) }
      }
      return await last.answer
    },
  }
}

async function askStorage(objects: ObjectReader): Promise<string | undefined> {
  const giveUp = new AbortController()
  const late = sleep(patienceMs, 'unavailable: no answer', { signal: giveUp.signal })
  // Not its size: of a bucket that is gone, an answer without a body says only that there is nothing.
  const answered = objects.get(leaderKey).then(
    () => undefined,
    () => 'unavailable',
  )
  const answer = await Promise.race([answered, late])
  giveUp.abort()
  await late.catch(() => {})
  return answer
}
