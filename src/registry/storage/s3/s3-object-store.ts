/**
 * An ObjectStore over a bucket. The server decides conditions; where it cannot, one process does
 * (emulated-conditions.ts).
 *
 * 1. A write whose answer was lost is repeated with the same condition, and when that fails the
 *    object is read back: the id of the writer in its metadata tells whether it was us.
 * 2. A read that breaks off goes on where it stopped, of the same version of the object.
 * 3. Of bytes nothing is kept here between requests, so nothing is served that another process
 *    removed. What is asked by a guess (ask-ahead.ts) is asked of the bucket all the same.
 */
import { randomUUID } from 'node:crypto'
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
import type { Listing } from './listing.ts'
import { listKeys } from './listing.ts'
import type { PartMemory } from './part-memory.ts'
import { parseProgress } from './progress.ts'
import { readObject } from './read-object.ts'
import { retrying } from './retries.ts'
import { appendToObject } from './s3-append.ts'
import type { S3Client } from './s3-client.ts'
import { isAbsence, isConditionFailure } from './s3-failure.ts'
import { discardProgress, unfinishedObjects } from './unfinished.ts'

export interface S3Store {
  readonly client: S3Client
  readonly listing: Listing
  readonly memory: PartMemory
  /** Whether the server decides `If-None-Match` and `If-Match`. */
  readonly hasConditions: boolean
}

const writerHeader = 'x-amz-meta-writer'

export class S3ObjectStore implements ObjectStore {
  readonly isShared = true
  readonly isReliable = true
  readonly isFar = true
  readonly #store: S3Store

  constructor(store: S3Store) {
    this.#store = store
  }

  async get(key: string): Promise<StoredObject | undefined> {
    return (await this.#read(key))?.object
  }

  size(key: string): Promise<number | undefined> {
    return retrying(`Cannot look at object "${key}"`, async () => {
      const direct = await this.#store.client.size(key)
      if (direct !== undefined) return direct.size
      try {
        const headers = await this.#store.client.sendOnly({ method: 'HEAD', key })
        return Number(headers['content-length'])
      } catch (error) {
        if (isAbsence(error)) return undefined
        throw error
      }
    })
  }

  open(key: string, range?: ObjectRange): Promise<AsyncIterable<Uint8Array>> {
    return readObject(this.#store.client, key, range)
  }

  list(prefix: string, page: ListPage): Promise<readonly string[]> {
    return listKeys(this.#store, prefix, page)
  }

  put(key: string, bytes: Uint8Array, { condition }: PutOptions = {}): Promise<string> {
    const writer = randomUUID()
    const headers = { ...conditionHeaders(condition), [writerHeader]: writer }
    const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    return retrying(`Cannot write object "${key}"`, async ({ isRepeated }) => {
      try {
        const answer = await this.#store.client.sendOnly({ method: 'PUT', key, headers, body })
        return String(answer.etag)
      } catch (error) {
        if (condition === undefined || !isConditionFailure(error)) throw error
        const written = isRepeated ? await this.#writtenBy(writer, key, body) : undefined
        if (written === undefined) throw conditionFailed(key)
        return written
      }
    })
  }

  delete(key: string, { condition }: DeleteOptions = {}): Promise<void> {
    const headers = conditionHeaders(condition)
    return retrying(`Cannot delete object "${key}"`, async ({ isRepeated }) => {
      try {
        await this.#store.client.sendOnly({ method: 'DELETE', key, headers })
      } catch (error) {
        if (condition === undefined && isAbsence(error)) return
        if (condition === undefined || !isConditionFailure(error)) throw error
        // The version is gone, and its name can only be free because the first attempt was done.
        if (isRepeated && (await this.size(key)) === undefined) return
        throw conditionFailed(key)
      }
    })
  }

  append(key: string, from?: Checkpoint, expected?: Expected): Promise<Append> {
    return appendToObject(this.#store, { key, from, expected })
  }

  discard(key: string, from: Checkpoint): Promise<void> {
    return discardProgress(this.#store, key, parseProgress(from))
  }

  unfinished(prefix: string): AsyncIterable<Unfinished> {
    return unfinishedObjects(this.#store, prefix)
  }

  urlOf(key: string, seconds: number): Promise<string> {
    return this.#store.client.presign(key, seconds)
  }

  /** The etag of the object when it is what this write left; metadata may be lost on the way. */
  async #writtenBy(writer: string, key: string, bytes: Buffer): Promise<string | undefined> {
    const current = await this.#read(key)
    if (current === undefined) return undefined
    const isOurs =
      current.writer === undefined ? bytes.equals(current.object.bytes) : current.writer === writer
    return isOurs ? current.object.etag : undefined
  }

  /** Small objects whole; torn answers are asked for again. */
  #read(
    key: string,
  ): Promise<{ readonly object: StoredObject; readonly writer: string | undefined } | undefined> {
    return retrying(`Cannot read object "${key}"`, async () => {
      const direct = await this.#store.client.read(key)
      if (direct?.kind === 'absent') return undefined
      if (direct !== undefined) {
        const { bytes, etag, header } = direct
        return { object: { bytes, etag }, writer: header(writerHeader) }
      }
      try {
        const response = await this.#store.client.send({ method: 'GET', key })
        const chunks: Buffer[] = []
        for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
        const writer = response.headers[writerHeader]
        return {
          object: { bytes: Buffer.concat(chunks), etag: String(response.headers.etag) },
          writer: typeof writer === 'string' ? writer : undefined,
        }
      } catch (error) {
        if (isAbsence(error)) return undefined
        throw error
      }
    })
  }
}

function conditionHeaders(condition: Condition | undefined): Record<string, string> {
  if (condition === undefined) return {}
  return condition.kind === 'absent' ? { 'if-none-match': '*' } : { 'if-match': condition.etag }
}
