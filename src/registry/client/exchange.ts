/**
 * One request on a connection, and its answer: Node's own HTTP, with limits on idleness.
 *
 * The body is sent while the answer is awaited. An answer that comes before all of it was sent is
 * heard; the rest is not sent once the answer has been read.
 */
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { type TakenBody, takeBody } from '../../layerfs/content/taken-body.ts'
import type { Route } from './routes.ts'

export interface Question {
  readonly url: URL
  readonly method: string
  readonly headers: OutgoingHttpHeaders
  readonly body: (() => AsyncIterable<Uint8Array>) | Uint8Array | string | undefined
  /** From the last progress in sending to the answer's first byte. */
  readonly headersMs: number
  readonly signal: AbortSignal | undefined
}

export interface Answer {
  readonly message: IncomingMessage
  readonly request: ClientRequest
  /** Settles, well, when the source of the request's body is closed. */
  readonly sending: Promise<void>
}

/** Rejects with what broke (the system's error, Node's, or one with a code of ours), or the signal's reason. */
export function ask(route: Route, question: Question): Promise<Answer> {
  const { url, method, headers, body, headersMs, signal } = question
  return new Promise((resolve, reject) => {
    const isStreamed = typeof body === 'function'
    const request = route.request(url, { method, headers, ...(signal ? { signal } : {}) })
    // A body that ends early must not look whole, nor leave the registry waiting for the rest.
    if (isStreamed) Object.assign(request, { strictContentLength: 'content-length' in headers })
    let timer: NodeJS.Timeout | undefined
    const settled = () => clearTimeout(timer)
    // Without a connection it waits for others of the pool, which is no fault of the server's.
    request.once('socket', socket => {
      timer = setTimeout(() => request.destroy(timedOut('HEADERS_TIMEOUT')), headersMs)
      if (socket.connecting) socket.once('connect', () => timer?.refresh())
    })
    request.once('close', settled)
    request.once('response', message => {
      settled()
      resolve({ message, request, sending })
    })
    // An error after the answer is the body's, or nobody's.
    request.on('error', error => reject(signal?.aborted ? signal.reason : error))
    if (!isStreamed) request.end(body)
    const sending = isStreamed
      ? sendBody(request, body(), () => timer?.refresh()).catch(error => {
          request.destroy(error)
        })
      : Promise.resolve()
  })
}

/** Stops where nobody reads any more: the body's source is closed in every case. */
async function sendBody(
  request: ClientRequest,
  body: AsyncIterable<Uint8Array>,
  onProgress: () => void,
): Promise<void> {
  for await (const chunk of body) {
    if (request.destroyed) return
    if (!request.write(chunk)) await drained(request)
    onProgress()
  }
  if (!request.destroyed) request.end(onProgress)
}

function drained(request: ClientRequest): Promise<void> {
  if (request.destroyed) return Promise.resolve()
  return new Promise(resolve => {
    const done = () => {
      request.off('drain', done).off('close', done)
      resolve()
    }
    request.on('drain', done).on('close', done)
  })
}

/** A failure of our own, as the system's have codes. */
export function timedOut(code: 'HEADERS_TIMEOUT' | 'BODY_TIMEOUT'): Error {
  return Object.assign(new Error('Nothing came for too long'), { code })
}

/**
 * The body. Throws where it breaks off, and when nothing comes for `idleMs` while it is read: the
 * error as `translated`.
 */
export async function* readAnswer(
  answer: Answer,
  idleMs: number,
  translated: (error: unknown) => unknown = error => error,
): AsyncGenerator<Uint8Array> {
  const { message } = answer
  let isAwaited = false
  const timer = setTimeout(() => {
    if (isAwaited) message.destroy(timedOut('BODY_TIMEOUT'))
  }, idleMs)
  const chunks = message[Symbol.asyncIterator]()
  try {
    for (;;) {
      isAwaited = true
      timer.refresh()
      const { done, value } = await chunks.next()
      isAwaited = false
      if (done) break
      yield value
    }
  } catch (error) {
    throw translated(error)
  } finally {
    clearTimeout(timer)
    await chunks.return?.()
    stopSending(answer)
  }
}

/** A body with its connection, which disposing it closes. */
export type OwnedBody = TakenBody & Disposable

/** For fewer the connection is not given up. */
const worthTaking = 256 * 1024

/**
 * The body with its connection, for a thread to read the rest. `undefined`, and nothing has happened,
 * unless the body is large, has `length` bytes, and comes as it is.
 */
export function takeAnswer({ message }: Answer, length: number): OwnedBody | undefined {
  if (message.headers['content-length'] !== `${length}`) return undefined
  const taken = takeBody(message, worthTaking)
  if (taken === undefined) return undefined
  message.on('error', () => {})
  return { ...taken, [Symbol.dispose]: () => message.destroy() }
}

/** What is left of a body is read when it is little, so that the connection can be used again. */
const discardLimit = 64 * 1024
const discardMs = 1000

/** Reads what little is left of the answer, or drops its connection; nothing is sent any more. Never throws. */
export async function discard(answer: Answer): Promise<void> {
  const { message } = answer
  if (!message.readableEnded && !message.destroyed) await drain(message)
  stopSending(answer)
  await answer.sending
}

function stopSending({ request }: Answer): void {
  if (!request.writableFinished) request.destroy()
}

function drain(message: IncomingMessage): Promise<void> {
  return new Promise(resolve => {
    let left = discardLimit
    const timer = setTimeout(() => message.destroy(), discardMs)
    const done = () => {
      clearTimeout(timer)
      resolve()
    }
    message.once('end', done).once('close', done)
    message.on('error', () => {})
    message.on('data', (chunk: Uint8Array) => {
      left -= chunk.byteLength
      if (left < 0) message.destroy()
    })
  })
}
