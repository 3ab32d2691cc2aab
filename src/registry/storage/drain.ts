/** Where a store may send bytes to, instead of handing them out. */
import type { Socket } from 'node:net'

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
