/** Bytes from a socket or a file to a socket, moved by the kernel: less work than Node's streams. */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { syscalls } from '../native/syscalls.ts'

/** In the order of the addon's numbers. */
const relayEnds = ['all sent', 'source broke', 'target broke', 'stopped'] as const

export interface Relayed {
  readonly end: (typeof relayEnds)[number]
  /** Of the bytes that the source gave, all: none are lost when it breaks. */
  readonly sent: number
}

export interface RelayLimits {
  /** How long the source may give nothing while the target waits. */
  readonly sourceIdleMs: number
  /** What the target must take, while there is something to take. */
  readonly targetPace: { readonly bytes: number; readonly everyMs: number }
  /** Ends the relay. */
  readonly signal: AbortSignal
}

/**
 * Sends the next `count` bytes of the socket `from` to the socket `to`, both descriptors of plain
 * connections that nobody reads or writes meanwhile. Throws only when it cannot start.
 */
export function relay(
  [from, to]: readonly [from: number, to: number],
  count: number,
  limits: RelayLimits,
): Promise<Relayed> {
  return start({ from, at: null }, { to, count }, limits)
}

/** As {@link relay}, of the bytes of an open file from `start` up to `end`. */
export function sendFile(
  { from, start: at, end }: { readonly from: number; readonly start: number; readonly end: number },
  to: number,
  limits: Omit<RelayLimits, 'sourceIdleMs'>,
): Promise<Relayed> {
  // A file that is slow to come is not told from a client that is slow to take.
  const sourceIdleMs = limits.targetPace.everyMs
  return start({ from, at }, { to, count: end - at }, { ...limits, sourceIdleMs })
}

async function start(
  { from, at }: { readonly from: number; readonly at: number | null },
  { to, count }: { readonly to: number; readonly count: number },
  limits: RelayLimits,
): Promise<Relayed> {
  limits.signal.throwIfAborted()
  if (count === 0) return { end: 'all sent', sent: 0 }
  const { startRelay, stopRelay } = syscalls()
  let unwatch = () => {}
  let reason: Relayed['end'] | undefined
  const [end, sent] = await new Promise<[number, number]>(resolve => {
    const id = startRelay(from, at, to, count, (...ended) => resolve(ended))
    unwatch = watch(id, limits, why => {
      reason ??= why
      stopRelay(id)
    })
  })
  unwatch()
  const told = relayEnds[end] ?? 'stopped'
  return { end: told === 'stopped' ? (reason ?? told) : told, sent }
}

/** Of a plain connection; `undefined` of an encrypted one, whose bytes are made in this process. */
export function descriptorOf(socket: Socket): number | undefined {
  if (socket instanceof TLSSocket) return undefined
  // Node has no other name for it; where it is called otherwise one day, bytes are read and written.
  const { _handle: handle } = socket as { readonly _handle?: { readonly fd?: unknown } | null }
  return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined
}

const lookEveryMs = 5000

/** Calls `stop` when a side stands still, or the signal says so. */
function watch(
  id: number,
  { sourceIdleMs, targetPace, signal }: RelayLimits,
  stop: (why: Relayed['end']) => void,
): () => void {
  const onAbort = () => stop('stopped')
  signal.addEventListener('abort', onAbort, { once: true })
  let source = { received: 0, at: performance.now() }
  let target = { sent: 0, at: performance.now() }
  const everyMs = Math.min(lookEveryMs, sourceIdleMs, targetPace.everyMs)
  const timer = setInterval(() => {
    const [received = 0, sent = 0] = syscalls().relayProgress(id) ?? []
    const now = performance.now()
    // While there is something to send it is not the source that is waited for, and the reverse.
    if (received !== source.received || received > sent) source = { received, at: now }
    if (received === sent || sent - target.sent >= targetPace.bytes) target = { sent, at: now }
    if (now - source.at > sourceIdleMs) stop('source broke')
    if (now - target.at > targetPace.everyMs) stop('target broke')
  }, everyMs)
  return () => {
    clearInterval(timer)
    signal.removeEventListener('abort', onAbort)
  }
}
