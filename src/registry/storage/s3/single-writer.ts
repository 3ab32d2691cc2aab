/**
 * For servers that do not decide conditions: one process does, and keeps others out.
 *
 *   g/writer    {holder}: written again and again by the process that writes
 *
 * Its age is told by the server, which dates both the object and its answer, so no clocks are
 * compared. A holder that could not renew it in time stops writing.
 */
import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { OciError } from '../../../oci/errors.ts'
import { KeyedMutex } from '../keyed-mutex.ts'
import {
  type Append,
  type Checkpoint,
  type Condition,
  conditionFailed,
  type DeleteOptions,
  type Expected,
  type ListPage,
  type ObjectRange,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
  type Unfinished,
} from '../object-store.ts'
import { removePieces } from './pieces.ts'
import { retrying } from './retries.ts'
import type { S3Client } from './s3-client.ts'
import { isAbsence } from './s3-failure.ts'

export interface LeaseTimes {
  /** In which two that begin at once differ. */
  readonly settleMs: number
  readonly renewMs: number
  /** After which a holder that was not seen is taken for dead. */
  readonly expiryMs: number
}

const leaseTimes: LeaseTimes = { settleMs: 500, renewMs: 10_000, expiryMs: 40_000 }

const writerKey = 'g/writer'

export interface WriterLease extends AsyncDisposable {
  /** Whether no other process can be writing. */
  isHeld(): boolean
}

/** Throws `conflict` while another process has it. */
export async function takeWriterLease(
  client: S3Client,
  objects: ObjectStore,
  { settleMs, renewMs, expiryMs }: LeaseTimes = leaseTimes,
): Promise<WriterLease> {
  const holder = randomUUID()
  const record = Buffer.from(JSON.stringify({ holder }))
  const isOurs = async () => record.equals((await objects.get(writerKey))?.bytes ?? Buffer.alloc(0))
  const ageMs = await ageOf(client)
  if (ageMs !== undefined && ageMs < expiryMs) throw otherWriter(ageMs, expiryMs)
  await objects.put(writerKey, record)
  await pause(settleMs)
  if (!(await isOurs())) throw otherWriter(0, expiryMs)
  let renewedAt = performance.now()
  let isLost = false
  const renew = async () => {
    const asked = performance.now()
    if (!(await isOurs())) isLost = true
    if (isLost) return
    await objects.put(writerKey, record)
    renewedAt = asked
  }
  let renewing: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    // What failed is tried again; in the end the time is over.
    renewing = renew().catch(() => {})
  }, renewMs)
  timer.unref()
  return {
    isHeld: () => !isLost && performance.now() - renewedAt < expiryMs - renewMs,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer)
      await renewing
      if (!isLost && (await isOurs())) await removePieces(client, [writerKey])
    },
  }
}

function otherWriter(ageMs: number, expiryMs: number): OciError {
  return new OciError('conflict', 'Cannot open storage: another process writes to it', {
    hint: `This server decides no conditional writes, so one process may write at a time; the other was seen ${Math.round(ageMs / 1000)} seconds ago, and is taken for dead after ${expiryMs / 1000}`,
  })
}

function ageOf(client: S3Client): Promise<number | undefined> {
  return retrying('Cannot look for another writer', async () => {
    try {
      const headers = await client.sendOnly({ method: 'HEAD', key: writerKey })
      return Date.parse(headers.date ?? '') - Date.parse(headers['last-modified'] ?? '')
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw error
    }
  })
}

/** The bucket as its only writer sees it: conditions are decided here, one write of a key at a time. */
export class SingleWriterStore implements ObjectStore {
  readonly isShared = false
  readonly isReliable = true
  readonly isFar = true
  readonly #objects: ObjectStore
  readonly #lease: WriterLease
  readonly #mutex = new KeyedMutex()

  constructor(objects: ObjectStore, lease: WriterLease) {
    this.#objects = objects
    this.#lease = lease
  }

  async get(key: string): Promise<StoredObject | undefined> {
    const object = await this.#objects.get(key)
    // Not the server's, which some of these make from the time of the write.
    return object === undefined ? undefined : { bytes: object.bytes, etag: etagOf(object.bytes) }
  }

  size(key: string): Promise<number | undefined> {
    return this.#objects.size(key)
  }

  open(key: string, range?: ObjectRange): Promise<AsyncIterable<Uint8Array>> {
    return this.#objects.open(key, range)
  }

  list(prefix: string, page: ListPage): Promise<readonly string[]> {
    return this.#objects.list(prefix, page)
  }

  put(key: string, bytes: Uint8Array, { condition }: PutOptions = {}): Promise<string> {
    return this.#mutex.run(key, async () => {
      await this.#check(key, condition)
      await this.#objects.put(key, bytes)
      return etagOf(bytes)
    })
  }

  delete(key: string, { condition }: DeleteOptions = {}): Promise<void> {
    return this.#mutex.run(key, async () => {
      await this.#check(key, condition)
      await this.#objects.delete(key)
    })
  }

  async append(key: string, from?: Checkpoint, expected?: Expected): Promise<Append> {
    this.#mustHold()
    const append = await this.#objects.append(key, from, expected)
    return {
      write: chunks => append.write(chunks),
      checkpoint: () => append.checkpoint(),
      complete: async () => {
        // It may have taken as long as a large layer takes.
        this.#mustHold()
        return await append.complete()
      },
      [Symbol.asyncDispose]: () => append[Symbol.asyncDispose](),
    }
  }

  async discard(key: string, from: Checkpoint): Promise<void> {
    this.#mustHold()
    return await this.#objects.discard(key, from)
  }

  unfinished(prefix: string): AsyncIterable<Unfinished> {
    return this.#objects.unfinished(prefix)
  }

  async urlOf(key: string, seconds: number): Promise<string> {
    return (await this.#objects.urlOf?.(key, seconds)) ?? ''
  }

  async #check(key: string, condition: Condition | undefined): Promise<void> {
    this.#mustHold()
    if (condition === undefined) return
    const etag = (await this.get(key))?.etag
    const expected = condition.kind === 'absent' ? undefined : condition.etag
    if (etag !== expected) throw conditionFailed(key)
  }

  #mustHold(): void {
    if (this.#lease.isHeld()) return
    throw new OciError('unavailable', 'Cannot write to the storage: another process may be writing')
  }
}

function etagOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
