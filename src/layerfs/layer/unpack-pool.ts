/**
 * UnpackPool: threads that apply and hash layers side by side, one layer to a thread at a time. Threads are
 * started when there is work for them, and ended with the pool.
 *
 * Run from TypeScript sources, which no thread of Node 20 can load, it works in its own thread.
 */
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { OciError } from '../../oci/errors.ts'
import type { AppliedLayer, ApplyRequest, ExtractedLayer, ExtractRequest } from './apply-request.ts'
import type { DiffRequest, HashedDiff } from './diff.ts'
import { overlayUse } from './overlay-use.ts'
import { settleLayer } from './settle-layer.ts'
import { errorOf } from './thread-failure.ts'
import { runUnpackJob, type UnpackJob, type UnpackReply, type UnpackResult } from './unpack-job.ts'

export interface StagedLayer extends ExtractRequest {
  /** The layers below, **top first**, once they are applied; asked for when it matters. */
  readonly lower: () => Promise<readonly string[]>
  /** Stops the work; once nothing is written any more the promise rejects with the reason. */
  readonly signal?: AbortSignal
}

export interface UnpackPool extends AsyncDisposable {
  /**
   * {@link applyLayer} in a thread, with its errors. Extraction does not wait for `lower`; a layer
   * waiting for it holds no thread.
   */
  apply(layer: StagedLayer): Promise<AppliedLayer>
  /** {@link applyFlat} in a thread, with its errors. */
  applyFlat(request: ExtractRequest, signal?: AbortSignal): Promise<AppliedLayer>
  /** {@link hashDiff} in a thread, with its errors. */
  hash(request: DiffRequest, signal: AbortSignal): Promise<HashedDiff>
}

/** `size`: threads at most; absent: one for each processor, up to four. */
export function openUnpackPool(size: number = Math.min(availableParallelism(), 4)): UnpackPool {
  const threads = new Threads(size)
  return {
    apply: layer => applyWith(threads, layer),
    applyFlat: async (request, signal) => {
      using stop = stopFlag(signal)
      const job = { kind: 'flat', request: { ...request, stop: stop.flag } } as const
      return await threads.run<AppliedLayer>(job, signal)
    },
    hash: async (request, signal) => {
      using stop = stopFlag(signal)
      return await threads.run<HashedDiff>({ kind: 'hash', request, stop: stop.flag }, signal)
    },
    [Symbol.asyncDispose]: () => threads.close(),
  }
}

async function applyWith(threads: Threads, layer: StagedLayer): Promise<AppliedLayer> {
  const { lower: lowerWhenReady, signal, ...rest } = layer
  using stop = stopFlag(signal)
  const request: ExtractRequest = { ...rest, stop: stop.flag }
  const extracted = await threads.run<ExtractedLayer>({ kind: 'extract', request }, signal)
  const lower = await lowerWhenReady()
  signal?.throwIfAborted()
  const { questions, ...applied } = extracted
  if (settleLayer({ target: request.target, lower }, questions) === 'settled') return applied
  const replay: ApplyRequest = { ...request, lower }
  return await threads.run<AppliedLayer>({ kind: 'replay', request: replay }, signal)
}

const workerFile = import.meta.url.endsWith('.ts')
  ? undefined
  : new URL('./unpack-worker.js', import.meta.url)

class Threads {
  readonly #size: number
  readonly #idle: Worker[] = []
  readonly #waiting: (() => void)[] = []
  #busy = 0

  constructor(size: number) {
    this.#size = size
  }

  /** `Result`: what a job of that kind gives. */
  async run<Result extends UnpackResult>(job: UnpackJob, signal?: AbortSignal): Promise<Result> {
    signal?.throwIfAborted()
    while (this.#busy >= this.#size) await new Promise<void>(resolve => this.#waiting.push(resolve))
    this.#busy += 1
    try {
      signal?.throwIfAborted()
      const reply = await this.#reply(job)
      signal?.throwIfAborted()
      if (reply.kind === 'failed') throw errorOf(reply.failure)
      return reply.result as Result
    } finally {
      this.#busy -= 1
      this.#waiting.shift()?.()
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map(worker => worker.terminate()))
  }

  async #reply(job: UnpackJob): Promise<UnpackReply> {
    if (workerFile === undefined) return runUnpackJob(job)
    const worker = this.#idle.pop() ?? new Worker(workerFile, threadOptions())
    worker.ref()
    const over = new AbortController()
    try {
      const exit = once(worker, 'exit', over).then(([code]) => {
        throw new Error(`exit code ${code}`)
      })
      const reply = once(worker, 'message', over)
      worker.postMessage(job)
      const [message] = await Promise.race([reply, exit])
      // An idle thread keeps no process alive.
      worker.unref()
      this.#idle.push(worker)
      return message as UnpackReply
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new OciError('unavailable', `Cannot unpack: a thread ended: ${reason}`, {
        cause,
        hint: 'the machine may be short of memory; try again',
      })
    } finally {
      over.abort()
    }
  }
}

/** Of what is new: most of it is old in a moment, and V8 would let it become 48 MB. */
const resourceLimits = { maxYoungGenerationSizeMb: 3 }

/** Our system calls open descriptors that node does not know of, and its fs closes them. */
function threadOptions(): WorkerOptions {
  return { trackUnmanagedFds: false, workerData: overlayUse(), resourceLimits }
}

interface StopFlag extends Disposable {
  readonly flag: Int32Array
}

/** A flag that a thread can look at while it works, set when `signal` aborts. */
function stopFlag(signal: AbortSignal | undefined): StopFlag {
  const flag = new Int32Array(new SharedArrayBuffer(4))
  const onAbort = () => Atomics.store(flag, 0, 1)
  if (signal?.aborted === true) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  return { flag, [Symbol.dispose]: () => signal?.removeEventListener('abort', onAbort) }
}
