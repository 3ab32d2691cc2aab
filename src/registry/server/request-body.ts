/**
 * A request's bytes as handlers read them: asked for when first read, watched while they come.
 *
 * 1. `100 Continue` is sent at the first read: a request that is refused first costs no body.
 * 2. A client that sends slower than {@link Pace} is cut off; one that we keep waiting is not. There
 *    is no limit to the whole: a 100 GB layer over a slow line is fine.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { OciError } from '../../oci/errors.ts'
import type { ClientBudget } from './client-budget.ts'

export interface Pace {
  readonly bytes: number
  readonly everyMs: number
}

export interface HttpExchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** The client's address. */
  readonly remote: string | undefined
}

export interface RequestBody {
  /**
   * Throws `invalid` when the client goes away or is too slow, and `unavailable` of the client, before
   * anything is read, when it sends too many at once.
   */
  readonly bytes: AsyncIterable<Uint8Array>
  /** Whether the client waits to be asked for the body, and will not be: it must be hung up on. */
  isHeldBack(): boolean
}

export interface BodyLimits {
  readonly pace: Pace
  readonly budget: ClientBudget
}

export function openRequestBody(http: HttpExchange, { pace, budget }: BodyLimits): RequestBody {
  let isHeldBack = http.req.headers.expect?.toLowerCase() === '100-continue'
  async function* bytes(): AsyncGenerator<Uint8Array> {
    using _ = budget.enter(http.remote)
    if (isHeldBack) http.res.writeContinue()
    isHeldBack = false
    yield* watchedBytes(http.req, pace)
  }
  // Most requests have none, and are not asked for it.
  return { bytes: { [Symbol.asyncIterator]: bytes }, isHeldBack: () => isHeldBack }
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
    throw new OciError('invalid', 'Cannot read request: the client went away', { cause })
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
