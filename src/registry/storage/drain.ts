/** Where a store may send bytes to, instead of handing them out. */
import type { Socket } from 'node:net'
import { descriptorOf, type Relayed, type RelayLimits } from '../../layerfs/content/relay.ts'

/** A plain connection to a client, as far as bytes are sent on it. */
export interface Drain {
  /** When the chunk is the system's to send. Throws when the client goes away before. */
  write(chunk: Uint8Array): Promise<void>
  /** The connection's; its descriptor may be written to while no `write` is awaited. */
  readonly socket: Socket
  /** Of bytes that were sent so, and that the socket does not count. */
  sent(bytes: number): void
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
}

/** Bytes that the kernel can move, but for the first and, should it fail, the last of them. */
export interface Movable {
  readonly first: Uint8Array
  /** Throws when it cannot start. */
  relay(to: number, limits: Omit<RelayLimits, 'sourceIdleMs'>): Promise<Relayed>
  /** What is left after `moved` bytes by the relay, in the ordinary way. */
  goOn(moved: number): Promise<AsyncIterable<Uint8Array>>
}

/** As of every client that reads (listen.ts). */
const targetPace = { bytes: 16 * 1024, everyMs: 60_000 }

/** Sends all of it; whether the relay came to its end. Throws when the client goes away. */
export async function moveInto(drain: Drain, bytes: Movable): Promise<boolean> {
  const { socket, signal } = drain
  // Empty too: once it is written, what was before it on the connection is as well.
  await drain.write(bytes.first)
  signal.throwIfAborted()
  // Such as for want of descriptors: nothing was moved, and the bytes can still come the other way.
  const failed: Relayed = { end: 'source broke', sent: 0 }
  const limits = { targetPace, signal }
  const { end, sent } = await bytes.relay(descriptorOf(socket) ?? -1, limits).catch(() => failed)
  drain.sent(sent)
  if (end === 'all sent') return true
  if (end !== 'source broke') throw new Error('The client went away')
  for await (const chunk of await bytes.goOn(sent)) await drain.write(chunk)
  return false
}
