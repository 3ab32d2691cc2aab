/**
 * A request's bytes as handlers read them: asked for when first read, watched while they come.
 *
 * A large one is rather taken, and read by a thread (taken-request.ts).
 *
 * 1. `100 Continue` is sent at the first read: a request that is refused first costs no body.
 * 2. A client that sends slower than {@link Pace} is cut off; one that we keep waiting is not. There
 *    is no limit to the whole: a 100 GB layer over a slow line is fine.
 */
import type { IncomingMessage } from 'node:http'
import type { ArrivingBytes, TakenBytes } from '../../storage/arriving-bytes.ts'
import type { ClientBudget } from './client-budget.ts'
import { goneAway, type HttpExchange, type Pace } from './http-exchange.ts'
import type { TakeBody } from './taken-request.ts'

export interface RequestBody {
  /**
   * Throws `invalid` when the client goes away or is too slow, and `unavailable` of the client, before
   * anything is read, when it sends too many at once.
   */
  readonly bytes: ArrivingBytes
  /**
   * Whether the connection is of no more use after the reply: the client waits to be asked for the
   * body, and will not be, or Node does not know where the body ends.
   */
  mustHangUp(): boolean
}

export interface BodyLimits {
  readonly pace: Pace
  readonly budget: ClientBudget
  readonly take: TakeBody
}

export function openRequestBody(
  http: HttpExchange,
  { pace, budget, take }: BodyLimits,
): RequestBody {
  let isHeldBack = http.req.headers.expect?.toLowerCase() === '100-continue'
  let isLost = false
  const ask = () => {
    if (isHeldBack) http.res.writeContinue()
    isHeldBack = false
  }
  async function* read(): AsyncGenerator<Uint8Array> {
    using _ = budget.enter(http.remote)
    ask()
    yield* watchedBytes(http.req, pace)
  }
  const onLost = () => {
    isLost = true
  }
  const takeAll = (): TakenBytes | undefined => {
    const entered = budget.enter(http.remote)
    const taken = take(http, { pace, onLost })
    if (taken === undefined) {
      entered[Symbol.dispose]()
      return undefined
    }
    ask()
    return {
      ...taken,
      [Symbol.dispose]: () => {
        taken[Symbol.dispose]()
        entered[Symbol.dispose]()
      },
    }
  }
  // Most requests have none, and are not asked for it.
  return {
    bytes: { [Symbol.asyncIterator]: read, take: takeAll },
    mustHangUp: () => isHeldBack || isLost,
  }
}

async function* watchedBytes(req: IncomingMessage, pace: Pace): AsyncGenerator<Uint8Array> {
  const watch = watchPace(req, pace)
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      watch.received((chunk as Uint8Array).length)
      yield chunk as Uint8Array
      watch.waiting()
    }
  } catch (cause) {
    throw goneAway(cause)
  } finally {
    watch.end()
  }
}

interface PaceWatch {
  received(bytes: number): void
  /** The next chunk is the client's to send. */
  waiting(): void
  end(): void
}

function watchPace(req: IncomingMessage, pace: Pace): PaceWatch {
  let bytes = 0
  let ours = false
  const timer = setInterval(() => {
    if (!ours && bytes < pace.bytes) req.destroy(new Error('The client sends too slowly'))
    bytes = 0
    ours = false
  }, pace.everyMs)
  timer.unref()
  return {
    received: length => {
      bytes += length
      // Until the handler asks again it is we who are slow.
      ours = true
    },
    waiting: () => {
      ours = false
    },
    end: () => clearInterval(timer),
  }
}
