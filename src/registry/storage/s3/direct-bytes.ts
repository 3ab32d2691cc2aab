/** A direct GET's body as the bytes of an object: read, lent, or sent on by the kernel. */
import { relay } from '../../../layerfs/content/relay.ts'
import { type Drain, moveInto } from '../drain.ts'
import type { ObjectBytes, ObjectRange } from '../object-store.ts'
import type { DirectBody } from './direct-get.ts'

const sourceIdleMs = 20_000

/** The bytes from a position on, in the ordinary way: after the connection broke. */
type GoOn = (start: number) => Promise<AsyncIterable<Uint8Array>>

export function directBytes(body: DirectBody, range: ObjectRange, goOn: GoOn): ObjectBytes {
  const { descriptor } = body
  return {
    [Symbol.asyncIterator]: () => copies(lentChunks(body, range, goOn)),
    get lent() {
      return lentChunks(body, range, goOn)
    },
    ...(descriptor === undefined
      ? {}
      : { sendTo: (drain: Drain) => sendOn(drain, { body, descriptor, range, goOn }) }),
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
  readonly descriptor: number
  readonly range: ObjectRange
  readonly goOn: GoOn
}

async function sendOn(drain: Drain, sending: Sending): Promise<void> {
  const { body, descriptor, range, goOn } = sending
  const at = range.start + body.first.length
  let isWhole = false
  try {
    isWhole = await moveInto(drain, {
      first: body.first,
      relay: (to, limits) => relay([descriptor, to], range.end - at, { ...limits, sourceIdleMs }),
      goOn: moved => {
        body.destroy()
        return goOn(at + moved)
      },
    })
  } finally {
    if (isWhole) body.release()
    else body.destroy()
  }
}
