/**
 * A large request body, taken from Node: a thread writes and hashes it (receive.ts). Through Node's
 * streams, each piece an object with memory of its own, it took twice the processor time (measured).
 *
 *   Node reads the head ─► a thread reads the body ─► the reply ─► the connection under a new socket
 *
 * 1. Node's parser has not seen the bytes, and waits for them for ever. So once the reply is sent, the
 *    connection goes on under a new socket (resting-connections.ts); the client notices nothing.
 * 2. Where the body broke off the connection is broken, as Node does it; where the file failed it is
 *    given back to Node, for the reply to reach the client, and is good for nothing else.
 */
import type { Arrived, Received, ReceiveInto, TakenBytes } from '../../storage/arriving-bytes.ts'
import { type TakenConnection, takeConnection } from '../../storage/take-connection.ts'
import { goneAway, type HttpExchange, type Pace } from './http-exchange.ts'

/** For fewer a thread and a new socket are not worth their start (measured). */
const worthTaking = 1024 * 1024

/** Each has a thread and its memory. Who comes when there are as many is read by Node. */
const maxTaken = 16

export interface TakeOptions {
  readonly pace: Pace
  /** Told where Node cannot find the end of the body any more. */
  readonly onLost: () => void
}

/** `undefined`, and nothing has happened, where it cannot be done, or had better not be. */
export type TakeBody = (http: HttpExchange, options: TakeOptions) => TakenBytes | undefined

/** Of one server. */
export function createTaking(): TakeBody {
  let count = 0
  return (http, options) => {
    const taken = count < maxTaken ? takeConnection(http.req, worthTaking) : undefined
    if (taken === undefined) return undefined
    count++
    let isReceived = false
    return {
      first: taken.first,
      receive: into => {
        isReceived = true
        return receiveRest(http, taken, { ...options, into })
      },
      [Symbol.dispose]: () => {
        count--
        // What had come could not be written: Node reads the rest, and drops it.
        if (!isReceived) taken.giveBack()
      },
    }
  }
}

async function receiveRest(
  http: HttpExchange,
  taken: TakenConnection,
  { pace, onLost, into }: TakeOptions & { readonly into: ReceiveInto },
): Promise<Arrived> {
  const { socket } = http.req
  const stopped = new AbortController()
  const stop = () => stopped.abort()
  // Nobody reads it, so only we close it: such as when the server does.
  socket.once('close', stop)
  const received = await taken.receive({
    ...into,
    idleMs: pace.everyMs,
    signal: stopped.signal,
    onProgress: watchPace(pace, stop),
  })
  socket.off('close', stop)
  http.onTaken(received.received)
  if (received.end === 'file failed') onLost()
  return settle(http, taken, received)
}

function settle(
  http: HttpExchange,
  taken: TakenConnection,
  { end, received, error }: Received,
): Arrived {
  const { req, res } = http
  if (end === 'all received') {
    // What it says is so, though Node did not see it.
    req.complete = true
    res.once('finish', () => goOn(http, taken))
    return { received, isHashed: true }
  }
  if (end === 'file failed') {
    taken.giveBack()
    return { received, failure: error, isHashed: false }
  }
  req.socket.destroy()
  const cause =
    error ?? new Error(end === 'source broke' ? 'aborted' : 'The client sends too slowly')
  return { received, failure: goneAway(cause), isHashed: true }
}

/** Unless the connection ends with its reply. */
function goOn({ req: { socket }, adopt }: HttpExchange, taken: TakenConnection): void {
  if (socket.destroyed || !socket.writable) return
  try {
    adopt(taken.goOn())
  } catch {
    // Such as for want of descriptors: the client has its reply, and connects anew.
    socket.destroy()
  }
}

/** To be told of progress; calls `onSlow` when the client sends less than it must. */
function watchPace({ bytes, everyMs }: Pace, onSlow: () => void): (received: number) => void {
  let seen = 0
  let since = performance.now()
  return received => {
    const now = performance.now()
    if (now - since < everyMs) return
    if (received - seen < bytes) onSlow()
    seen = received
    since = now
  }
}
