/** A direct GET's body as the bytes of an object: read, lent, or sent on by the kernel. */
import { descriptorOf, type Relayed, relay } from '../../../layerfs/content/relay.ts'
import type { Drain } from '../drain.ts'
import type { ObjectBytes, ObjectRange } from '../object-store.ts'
import type { DirectBody } from './direct-get.ts'

const limits = {
  sourceIdleMs: 20_000,
  /** As of every client that reads (listen.ts). */
  targetPace: { bytes: 16 * 1024, everyMs: 60_000 },
}

/** The bytes from a position on, in the ordinary way: after the connection broke. */
type GoOn = (start: number) => Promise<AsyncIterable<Uint8Array>>

export function directBytes(body: DirectBody, range: ObjectRange, goOn: GoOn): ObjectBytes {
  return {
    [Symbol.asyncIterator]: () => copies(lentChunks(body, range, goOn)),
    get lent() {
      return lentChunks(body, range, goOn)
    },
    ...(body.descriptor === undefined
      ? {}
      : { sendTo: (drain: Drain) => sendOn(drain, { body, range, goOn }) }),
  }
}

async function* lentChunks(
  body: DirectBody,
  { start, end }: ObjectRange,
  goOn: GoOn,
): AsyncGenerator<Uint8Array> {
  let at = start
  try {
    let chunk: Uint8Array | undefined = body.first
    while (chunk !== undefined) {
      at += chunk.length
      if (chunk.length > 0) yield chunk
      chunk = at === end ? undefined : await nextOf(body, end - at)
    }
    if (at < end) yield* await goOn(at)
  } finally {
    if (at === end) body.release()
    else body.destroy()
  }
}

/** `undefined` when the connection broke, or more came than was asked for. */
async function nextOf(body: DirectBody, left: number): Promise<Uint8Array | undefined> {
  try {
    const chunk = await body.read()
    return chunk.length <= left ? chunk : undefined
  } catch {
    return undefined
  }
}

async function* copies(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield Buffer.from(chunk)
}

interface Sending {
  readonly body: DirectBody
  readonly range: ObjectRange
  readonly goOn: GoOn
}

async function sendOn(drain: Drain, { body, range, goOn }: Sending): Promise<void> {
  const { first } = body
  const at = range.start + first.length
  try {
    // Empty too: once it is written, what was before it on the connection is as well.
    await drain.write(first)
    const { end, sent } = await relayed(body, drain, range.end - at)
    drain.sent(sent)
    if (end === 'all sent') return body.release()
    if (end !== 'source broke') throw new Error('The client went away')
    body.destroy()
    for await (const chunk of await goOn(at + sent)) await drain.write(chunk)
  } catch (error) {
    body.destroy()
    throw error
  }
}

async function relayed(body: DirectBody, drain: Drain, count: number): Promise<Relayed> {
  drain.signal.throwIfAborted()
  const sockets = [body.descriptor ?? -1, descriptorOf(drain.socket) ?? -1] as const
  try {
    return await relay(sockets, count, { ...limits, signal: drain.signal })
  } catch {
    // Such as for want of descriptors: nothing was moved, and the bytes can still come the other way.
    return { end: 'source broke', sent: 0 }
  }
}
