/** One request on its connection, as far as its body needs it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { OciError } from '../../../oci/errors.ts'

export interface HttpExchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** The client's address. */
  readonly remote: string | undefined
  /** Serves the connection's next requests, under this socket. */
  readonly adopt: (socket: Socket) => void
  /** Told of bytes that came and that the request's socket does not count. */
  readonly onTaken: (bytes: number) => void
}

/** What a client must send. */
export interface Pace {
  readonly bytes: number
  readonly everyMs: number
}

/** The client closed the connection, or was cut off. */
export function goneAway(cause: unknown): OciError {
  return new OciError('invalid', 'Cannot read request: the client went away', { cause })
}
