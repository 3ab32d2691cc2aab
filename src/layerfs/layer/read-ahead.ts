/**
 * A layer's tar, read, inflated and hashed by another thread while this one works on what came
 * before: that is most of the work.
 *
 *   helper   wait for a free slot ─► read or inflate into it ─► hash it ─► …   read-ahead-worker.ts
 *   here     wait for a full slot ─► yield it ─► free it ─► …
 *
 * Both share a {@link Ring}, and sleep on its counters. Each thread that reads has one helper,
 * which ends with it.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type DiffId, parseDiffId } from '../../oci/digest.ts'
import { inflateWindow } from '../native/syscalls.ts'
import { errorOf, type Failure } from './thread-failure.ts'

export interface ReadAhead {
  /** Each is valid until the next one is asked for. */
  readonly chunks: Iterable<Uint8Array>
  /** Of all chunks, once they were read. */
  diffId(): DiffId
}

export interface LayerFile {
  readonly fd: number
  /** Bytes of the file. */
  readonly size: number
  readonly encoding: 'gzip' | 'none'
}

export interface ReadAheadJob extends LayerFile {
  readonly memory: SharedArrayBuffer
}

const slotCount = 4
const headerSize = 4096
/** Before the content of each slot is room for what inflate refers back to. */
export const slotSize: number = inflateWindow + 512 * 1024

/** How far the helper came, how far this thread did, and what the slots hold. */
export class Ring {
  readonly memory: SharedArrayBuffer
  readonly #counters: Int32Array
  readonly #lengths: Int32Array
  /** SHA-256, in the end. */
  readonly digest: Uint8Array

  constructor(memory = new SharedArrayBuffer(headerSize + slotCount * slotSize)) {
    this.memory = memory
    this.#counters = new Int32Array(memory, 0, 3)
    this.#lengths = new Int32Array(memory, 64, slotCount)
    this.digest = new Uint8Array(memory, 1024, 32)
  }

  /** With the room before its content. */
  slot(index: number): Uint8Array {
    return new Uint8Array(this.memory, headerSize + (index % slotCount) * slotSize, slotSize)
  }

  /** Says that slot `index` holds `length` bytes; 0: the file is over; {@link failed}. */
  fill(index: number, length: number): void {
    Atomics.store(this.#lengths, index % slotCount, length)
    this.#advance(filledCounter, index + 1)
  }

  /** Waits for slot `index`: its length. */
  untilFilled(index: number): number {
    this.#wait(filledCounter, index)
    return Atomics.load(this.#lengths, index % slotCount)
  }

  release(index: number): void {
    this.#advance(releasedCounter, index + 1)
  }

  /** Waits until slot `index` is free; `false` once nobody wants more. */
  untilFree(index: number): boolean {
    if (index >= slotCount) this.#wait(releasedCounter, index - slotCount)
    return Atomics.load(this.#counters, releasedCounter) !== abandoned
  }

  abandon(): void {
    this.#advance(releasedCounter, abandoned)
  }

  #advance(counter: number, value: number): void {
    Atomics.store(this.#counters, counter, value)
    Atomics.notify(this.#counters, counter)
  }

  /** Until the counter is above `value`. */
  #wait(counter: number, value: number): void {
    for (;;) {
      const now = Atomics.load(this.#counters, counter)
      if (now > value) return
      Atomics.wait(this.#counters, counter, now)
    }
  }
}

const filledCounter = 0
const releasedCounter = 1
const abandoned = 2 ** 31 - 1

/** Instead of a slot's length: the file could not be read. Why, its last message says. */
export const failed = -1
const helperFailed = new Error('A layer could not be read ahead')

export interface ReadAheadReply {
  readonly failure?: Failure
}

/** Below that, handing over costs more than it saves. */
const smallest = 8 * 1024 * 1024

/** Run from TypeScript sources, which no thread of Node 20 can load, there is no helper. */
const workerFile = import.meta.url.endsWith('.ts')
  ? undefined
  : new URL('./read-ahead-worker.js', import.meta.url)

let helper: { readonly worker: Worker; isBusy: boolean } | undefined

/** Calls `use` with what is read ahead; `undefined`: reading it here is as good. */
export async function withReadAhead<T>(
  file: LayerFile,
  use: (ahead: ReadAhead | undefined) => Promise<T>,
): Promise<T> {
  if (workerFile === undefined || file.size < smallest || helper?.isBusy === true) {
    return use(undefined)
  }
  helper ??= { worker: await startHelper(workerFile), isBusy: false }
  const { worker } = helper
  const ring = new Ring()
  helper.isBusy = true
  worker.ref()
  const over = once(worker, 'message')
  const job: ReadAheadJob = { ...file, memory: ring.memory }
  worker.postMessage(job)
  try {
    return await use({ chunks: chunksOf(ring), diffId: () => diffIdOf(ring) })
  } catch (error) {
    if (error !== helperFailed) throw error
    const [reply] = (await over) as [ReadAheadReply]
    throw reply.failure === undefined ? error : errorOf(reply.failure)
  } finally {
    ring.abandon()
    // It must not read from a descriptor that is closed and may be another file's.
    await over
    worker.unref()
    helper.isBusy = false
  }
}

/** Waits until it runs: a thread that never starts would leave us waiting for its first chunk. */
async function startHelper(file: URL): Promise<Worker> {
  const worker = new Worker(file, { trackUnmanagedFds: false })
  await once(worker, 'online')
  worker.unref()
  return worker
}

function* chunksOf(ring: Ring): Generator<Uint8Array> {
  for (let index = 0; ; index++) {
    const length = ring.untilFilled(index)
    if (length === failed) throw helperFailed
    if (length === 0) return
    yield ring.slot(index).subarray(inflateWindow, inflateWindow + length)
    ring.release(index)
  }
}

function diffIdOf({ digest }: Ring): DiffId {
  return parseDiffId(`sha256:${Buffer.from(digest).toString('hex')}`)
}
