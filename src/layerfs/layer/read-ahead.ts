/**
 * A layer's tar, read, inflated and hashed by another thread while this one works on what came
 * before: that is most of the work.
 *
 *   helper   wait for a free slot ─► read or inflate into it ─► hash it ─► …   read-ahead-worker.ts
 *   here     wait for a full slot ─► yield it ─► free it ─► …
 *
 * Both share a {@link Ring}, and sleep on its counters. Each thread that reads has one helper,
 * which ends with it. Should the helper end first, for want of memory, nobody advances the counter:
 * who sleeps on it looks now and then whether the kernel still has that thread.
 */
import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { type DiffId, parseDiffId } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { inflateWindow } from '../native/syscalls.ts'
import { errorOf, type Failure, failureOf } from './thread-failure.ts'

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

  /** Waits for slot `index`: its length. {@link failed} once `isAlive` denies that it will come. */
  untilFilled(index: number, isAlive: () => boolean): number {
    while (!this.#wait(filledCounter, index, patienceMs)) {
      // It may have filled the slot with its last breath.
      if (!isAlive() && !this.#wait(filledCounter, index, 0)) return failed
    }
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

  /** Until the counter is above `value`; `false` when nothing happened to it for so long. */
  #wait(counter: number, value: number, ms = Number.POSITIVE_INFINITY): boolean {
    for (;;) {
      const now = Atomics.load(this.#counters, counter)
      if (now > value) return true
      if (Atomics.wait(this.#counters, counter, now, ms) === 'timed-out') return false
    }
  }
}

const patienceMs = 500

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

interface Helper {
  readonly worker: Worker
  /** What the kernel shows of its thread, for as long as that runs. */
  readonly task: string
  /** Never, or why it ended. */
  readonly ended: Promise<ReadAheadReply>
  isBusy: boolean
}

let helper: Helper | undefined

/**
 * Calls `use` with what is read ahead; `undefined`: reading it here is as good. Throws what reading
 * throws, and `unavailable` when the helper ends.
 */
export async function withReadAhead<T>(
  file: LayerFile,
  use: (ahead: ReadAhead | undefined) => Promise<T>,
  program: URL | undefined = workerFile,
): Promise<T> {
  if (program === undefined || file.size < smallest || helper?.isBusy === true) {
    return use(undefined)
  }
  const mine = helper ?? (await startHelper(program))
  helper = mine
  const { worker, task } = mine
  const ring = new Ring()
  mine.isBusy = true
  worker.ref()
  const over = Promise.race([nextMessage(worker) as Promise<ReadAheadReply>, mine.ended])
  const job: ReadAheadJob = { ...file, memory: ring.memory }
  worker.postMessage(job)
  try {
    const chunks = chunksOf(ring, () => existsSync(task))
    return await use({ chunks, diffId: () => diffIdOf(ring) })
  } catch (error) {
    if (error !== helperFailed) throw error
    const reply = await over
    throw reply.failure === undefined ? error : errorOf(reply.failure)
  } finally {
    ring.abandon()
    // It must not read from a descriptor that is closed and may be another file's.
    await over
    worker.unref()
    mine.isBusy = false
  }
}

/** Waits until it has said which thread it is. */
async function startHelper(file: URL): Promise<Helper> {
  const worker = new Worker(file, { trackUnmanagedFds: false })
  const ended = endOf(worker).then(reply => {
    if (helper?.worker === worker) helper = undefined
    return reply
  })
  const first = await Promise.race([nextMessage(worker) as Promise<string>, ended])
  if (typeof first !== 'string') throw errorOf(first.failure as Failure)
  worker.unref()
  return { worker, task: `/proc/${first}`, ended, isBusy: false }
}

function nextMessage(worker: Worker): Promise<unknown> {
  return new Promise(resolve => {
    worker.once('message', resolve)
  })
}

function endOf(worker: Worker): Promise<ReadAheadReply> {
  return new Promise(resolve => {
    const end = (reason: string) => {
      const message = `Cannot read a layer: the thread that reads ahead of it ended: ${reason}`
      const hint = 'the machine may be short of memory; try again'
      resolve({ failure: failureOf(new OciError('unavailable', message, { hint })) })
    }
    worker.on('error', error => end(error instanceof Error ? error.message : String(error)))
    worker.once('exit', code => end(`exit code ${code}`))
  })
}

function* chunksOf(ring: Ring, isAlive: () => boolean): Generator<Uint8Array> {
  for (let index = 0; ; index++) {
    const length = ring.untilFilled(index, isAlive)
    if (length === failed) throw helperFailed
    if (length === 0) return
    yield ring.slot(index).subarray(inflateWindow, inflateWindow + length)
    ring.release(index)
  }
}

function diffIdOf({ digest }: Ring): DiffId {
  return parseDiffId(`sha256:${Buffer.from(digest).toString('hex')}`)
}
