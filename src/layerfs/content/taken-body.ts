/** The body of an HTTP message, taken from Node with its connection: for a thread to read (receive.ts). */
import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { syscalls } from '../native/syscalls.ts'
import { descriptorOf } from './relay.ts'

/** A body that comes by a plain connection, which Node reads no more. */
export interface TakenBody {
  /** Its beginning, which has come. */
  readonly first: Uint8Array
  /** The connection's, and how many bytes are to come by it. */
  readonly descriptor: number
  readonly left: number
  /** Has Node read the connection again: in the midst of a body, of which it lacks what others took. */
  giveBack(): void
  /** The connection as one that has just come; the message's socket is destroyed, and it lives on. */
  goOn(): Socket
}

/** The system's side of a socket, which Node has no other name for. */
interface SocketHandle {
  readStop?: () => number
  readStart?: () => number
}

/**
 * Takes the body. `undefined`, and nothing has happened, unless its length is told, it comes as it is
 * by a plain connection, and at least `worthTaking` bytes of it are still to come.
 */
export function takeBody(message: IncomingMessage, worthTaking: number): TakenBody | undefined {
  const { socket, headers } = message
  const length = Number(headers['content-length'])
  // Not a number: not large.
  const isLarge = length - message.readableLength >= worthTaking
  if (!isLarge || 'transfer-encoding' in headers || socket.readableLength > 0) return undefined
  const descriptor = descriptorOf(socket)
  const { _handle: handle } = socket as unknown as { readonly _handle?: SocketHandle }
  if (descriptor === undefined || typeof handle?.readStop !== 'function') return undefined
  handle.readStop()
  // To read what has come would have Node go on.
  handle.readStart = () => 0
  const chunks: Uint8Array[] = []
  for (let chunk = message.read(); chunk !== null; chunk = message.read()) chunks.push(chunk)
  const first = Buffer.concat(chunks)
  return {
    first,
    descriptor,
    left: length - first.length,
    giveBack: () => {
      // What lies behind it is the system's own.
      Reflect.deleteProperty(handle, 'readStart')
      if (!socket.destroyed) handle.readStart?.()
    },
    goOn: () => {
      const fd = syscalls().duplicate(descriptor)
      socket.destroy()
      return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true })
    },
  }
}
