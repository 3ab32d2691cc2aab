/**
 * Trying again: when, how often, after how long.
 *
 * Answers 408, 429 and 5xx and broken connections are retried with full jitter, so that many
 * clients of a restarting registry do not come back in step. A `Retry-After` is obeyed while it is
 * short; a longer one is the user's to know.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError, TransportError } from './registry-error.ts'

export interface RetryPolicy {
  /** Including the first. */
  readonly attempts: number
  /** The first pause is up to this; each further one up to twice as long. */
  readonly baseMs: number
  readonly maxMs: number
  /** The longest `Retry-After` that is waited for. */
  readonly maxRetryAfterMs: number
}

export const defaultRetry: RetryPolicy = {
  attempts: 5,
  baseMs: 500,
  maxMs: 10_000,
  maxRetryAfterMs: 60_000,
}

const transientStatuses = new Set([408, 429, 500, 502, 503, 504])

/** Whether the same request may well succeed a moment later. */
export function isTransient(error: unknown): boolean {
  if (error instanceof TransportError) return error.isTransient
  return error instanceof RegistryError && transientStatuses.has(error.status)
}

/** The pause after failure number `failures` in a row, or `undefined`: give up. */
export function pauseAfter(
  policy: RetryPolicy,
  failures: number,
  error: unknown,
): number | undefined {
  return isTransient(error) ? pauseOf(policy, failures, error) : undefined
}

/** As {@link pauseAfter} for errors that the caller knows to be worth another attempt. */
export function pauseOf(policy: RetryPolicy, failures: number, error: unknown): number | undefined {
  if (failures >= policy.attempts) return undefined
  const asked = error instanceof RegistryError ? error.retryAfterMs : undefined
  if (asked !== undefined) return asked > policy.maxRetryAfterMs ? undefined : asked
  const ceiling = Math.min(policy.maxMs, policy.baseMs * 2 ** (failures - 1))
  return Math.random() * ceiling
}

/** Runs `attempt` until it succeeds or fails for good; throws its last error. */
export async function retrying<T>(
  policy: RetryPolicy,
  attempt: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      const pauseMs = pauseAfter(policy, failures, error)
      if (pauseMs === undefined) throw error
      await pause(pauseMs, signal)
    }
  }
}

/** Rejects with the signal's reason when that comes first. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}

/** `Retry-After` in milliseconds: seconds or a date. `undefined` when it is neither. */
export function parseRetryAfter(value: string | undefined, now: Date): number | undefined {
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now.getTime())
}
