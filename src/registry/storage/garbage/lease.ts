/**
 * Who collects: one process at a time, of all that share the store.
 *
 * It saves work and nothing else: two collectors at once, when a lease ran out under a process that
 * was suspended, are safe (condemn.ts). So it may trust clocks.
 */
import { hasCode } from '../../../oci/errors.ts'
import { removeVersion } from '../condemn.ts'
import { leaderKey } from '../keys.ts'
import type { Condition } from '../object-store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import type { RegistryStorage } from '../registry-storage.ts'

export interface Lease extends AsyncDisposable {
  /** Aborts when another process took the lease over. */
  readonly lost: AbortSignal
}

const leaseMs = 60_000
const renewMs = 20_000

/** The lease until disposed; `undefined` while another process has it. */
export async function tryLease(storage: RegistryStorage): Promise<Lease | undefined> {
  const now = storage.now().getTime()
  const current = await storage.objects.get(leaderKey)
  const { until } = decodeRecord(current?.bytes ?? new Uint8Array()) ?? {}
  // A time far ahead is a clock that was wrong.
  const isHeld = typeof until === 'number' && until > now && until < now + 2 * leaseMs
  if (isHeld) return undefined
  const etag = await write(storage, current?.etag)
  return etag === undefined ? undefined : keep(storage, etag)
}

function keep(storage: RegistryStorage, first: string): Lease {
  const lost = new AbortController()
  let etag = first
  let renewing: Promise<void> = Promise.resolve()
  const renew = async () => {
    const next = await write(storage, etag).catch(() => undefined)
    if (next === undefined) lost.abort(new Error('Another process collects garbage'))
    else etag = next
  }
  const timer = setInterval(() => {
    renewing = renew()
  }, renewMs)
  timer.unref()
  return {
    lost: lost.signal,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer)
      await renewing
      if (!lost.signal.aborted) await removeVersion(storage, leaderKey, etag)
    },
  }
}

async function write(
  storage: RegistryStorage,
  replaced: string | undefined,
): Promise<string | undefined> {
  const until = storage.now().getTime() + leaseMs
  const condition: Condition =
    replaced === undefined ? { kind: 'absent' } : { kind: 'matches', etag: replaced }
  const record = encodeRecord({ until, holder: storage.newId() })
  try {
    return await storage.objects.put(leaderKey, record, { condition, durability: 'cached' })
  } catch (error) {
    if (hasCode(error, 'conflict')) return undefined
    throw error
  }
}
