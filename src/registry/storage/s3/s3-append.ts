/**
 * An object that arrives in pieces of any size, over any number of turns and processes.
 *
 *   bytes ─► tail in memory ──full──► part of a multipart upload ──complete──► object
 *              │ turn ends, or memory is scarce
 *              ▼
 *            piece: a small object, read back when its part is full
 *
 * An object that ends before its first part is full is one PUT. One whose size is known, and that
 * comes fast, is one PUT too, streamed (streamed-put.ts).
 *
 * 1. A turn adds parts and pieces, and removes none that the checkpoint it began with names.
 * 2. The object appears where there is none: a turn that was taken over cannot replace it.
 */
import { randomUUID } from 'node:crypto'
import type { Append, Checkpoint, Expected } from '../object-store.ts'
import { conditionFailed } from '../object-store.ts'
import {
  abortMultipart,
  beginMultipart,
  completeMultipart,
  type Multipart,
  uploadPart,
} from './multipart.ts'
import type { PartMemory } from './part-memory.ts'
import { partSizeOf } from './part-sizes.ts'
import { type Piece, readPiece, removePieces, writePiece } from './pieces.ts'
import {
  checkpointOf,
  noProgress,
  type Part,
  type Progress,
  parseProgress,
  sizeOf,
} from './progress.ts'
import { retrying } from './retries.ts'
import type { S3Client } from './s3-client.ts'
import { isConditionFailure } from './s3-failure.ts'
import { StreamedPut } from './streamed-put.ts'
import { Tail } from './tail.ts'

interface Store {
  readonly client: S3Client
  readonly memory: PartMemory
  readonly hasConditions: boolean
}

interface Turn {
  readonly key: string
  readonly from?: Checkpoint | undefined
  readonly expected?: Expected | undefined
}

/** Throws `not-found` when the checkpoint is not one of ours. */
export async function appendToObject(store: Store, { key, from, expected }: Turn): Promise<Append> {
  const before = from === undefined ? noProgress : parseProgress(from)
  // The turn that used them up is recorded by now.
  await removePieces(store.client, before.spent)
  return new S3Append(store, { key, before: { ...before, spent: [] }, expected })
}

/** Of one upload: one more than the one that is being filled keeps the connection busy. */
const partsAtOnce = 3

/** Smaller ones cost more requests than they free memory. */
const minPiece = 256 * 1024

/** Each is a request when they are read back. */
const maxPieces = 16

/** Slower clients may stall, and a PUT cannot wait for them as long as we do. */
const fastBytesPerMs = 1024

class S3Append implements Append {
  readonly #store: Store
  readonly #key: string
  readonly #before: Progress
  readonly #expected: Expected | undefined
  readonly #began = performance.now()
  readonly #tail: Tail
  readonly #sending = new Set<Promise<void>>()
  readonly #parts: Part[]
  #pieces: Piece[]
  readonly #spent: string[] = []
  readonly #madeHere: string[] = []
  #multipart: Multipart | undefined
  #streamed: StreamedPut | undefined
  #failure: unknown
  #ended = false

  constructor(
    store: Store,
    turn: {
      readonly key: string
      readonly before: Progress
      readonly expected: Expected | undefined
    },
  ) {
    const { key, before, expected } = turn
    this.#store = store
    this.#key = key
    this.#before = before
    this.#expected = expected
    this.#tail = new Tail(store.memory)
    this.#parts = [...before.parts]
    this.#pieces = [...before.pieces]
    if (before.uploadId !== undefined) this.#multipart = { key, uploadId: before.uploadId }
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#streamed !== undefined) return this.#streamed.write(chunks)
    this.#tail.push(chunks)
    if (this.#mayStream()) return this.#stream()
    while (this.#waiting() >= this.#partSize()) await this.#sendPart(this.#partSize())
    if (this.#store.memory.isUsedUp() && this.#tail.size >= minPiece) await this.#putAside()
  }

  async checkpoint(): Promise<Checkpoint> {
    this.#ended = true
    if (this.#streamed !== undefined) {
      await this.#streamed.abort()
      return checkpointOf(noProgress)
    }
    await this.#allSent()
    if (this.#tail.size > 0) await this.#putAside()
    const { uploadId } = this.#multipart ?? {}
    return checkpointOf({
      ...(uploadId === undefined ? {} : { uploadId }),
      parts: this.#parts,
      pieces: this.#pieces,
      spent: this.#spent,
    })
  }

  async complete(): Promise<number> {
    const size = await this.#complete()
    this.#ended = true
    await removePieces(this.#store.client, [...this.#spent, ...this.#pieces.map(({ key }) => key)])
    return size
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    await this.#streamed?.abort()
    await Promise.allSettled(this.#sending)
    this.#tail.drop()
    await removePieces(this.#store.client, this.#madeHere)
    if (this.#multipart !== undefined && this.#before.uploadId === undefined) {
      await abortMultipart(this.#store.client, this.#multipart)
    }
  }

  async #complete(): Promise<number> {
    if (this.#streamed !== undefined) return this.#streamed.complete()
    if (this.#multipart === undefined) return this.#putWhole()
    if (this.#waiting() > 0) await this.#sendPart(this.#waiting())
    await this.#allSent()
    const { hasConditions, client } = this.#store
    await completeMultipart(client, this.#multipart, {
      parts: this.#parts,
      isConditional: hasConditions,
    })
    return sizeOf(this.#parts)
  }

  async #putWhole(): Promise<number> {
    const body = Buffer.concat([...(await this.#readPieces()), ...this.#tail.take(this.#tail.size)])
    const { client, hasConditions } = this.#store
    const writer = randomUUID()
    const headers = {
      'x-amz-meta-writer': writer,
      ...(hasConditions ? { 'if-none-match': '*' } : {}),
    }
    await retrying(`Cannot write object "${this.#key}"`, async ({ isRepeated }) => {
      try {
        await client.sendOnly({ method: 'PUT', key: this.#key, headers, body })
      } catch (error) {
        if (!isConditionFailure(error)) throw error
        const found = isRepeated ? await client.sendOnly({ method: 'HEAD', key: this.#key }) : {}
        if (found['x-amz-meta-writer'] !== writer) throw conditionFailed(this.#key)
      }
    })
    return body.length
  }

  #mayStream(): boolean {
    const { size = 0 } = this.#expected ?? {}
    if (this.#parts.length + this.#pieces.length > 0 || this.#multipart !== undefined) return false
    if (this.#tail.size < this.#partSize() || size <= this.#tail.size) return false
    const rate = this.#tail.size / (performance.now() - this.#began)
    return size <= StreamedPut.maxSize && rate >= fastBytesPerMs
  }

  async #stream(): Promise<void> {
    const { client, hasConditions } = this.#store
    const size = this.#expected?.size ?? 0
    this.#streamed = new StreamedPut(client, { key: this.#key, size, isConditional: hasConditions })
    await this.#streamed.write(this.#tail.take(this.#tail.size))
  }

  #partSize(): number {
    return partSizeOf(this.#parts.length, this.#store.client.options.partSize)
  }

  /** Bytes that are in no part yet. */
  #waiting(): number {
    return sizeOf(this.#pieces) + this.#tail.size
  }

  /** Starts sending the next `size` bytes as a part. A failure is the next write's. */
  async #sendPart(size: number): Promise<void> {
    while (this.#sending.size >= partsAtOnce) await Promise.race(this.#sending)
    if (this.#failure !== undefined) throw this.#failure
    const memory = await this.#store.memory.reserve(size)
    try {
      this.#multipart ??= await beginMultipart(this.#store.client, this.#key)
      const before = await this.#readPieces()
      const rest = size - sizeOf(this.#pieces)
      const body = Buffer.concat([...before, ...this.#tail.take(rest)])
      this.#spent.push(...this.#pieces.map(({ key }) => key))
      this.#pieces = []
      this.#send(this.#multipart, body, memory)
    } catch (error) {
      memory[Symbol.dispose]()
      throw error
    }
  }

  #send(multipart: Multipart, body: Buffer, memory: Disposable): void {
    const index = this.#parts.length
    this.#parts.push({ etag: '', size: body.length })
    const sending = uploadPart(this.#store.client, multipart, { index, body })
      .then(
        part => {
          this.#parts[index] = part
        },
        (error: unknown) => {
          this.#failure ??= error
        },
      )
      .finally(() => {
        memory[Symbol.dispose]()
        this.#sending.delete(sending)
      })
    this.#sending.add(sending)
  }

  async #allSent(): Promise<void> {
    await Promise.all(this.#sending)
    if (this.#failure !== undefined) throw this.#failure
  }

  /** The tail becomes a piece; many small ones become one. */
  async #putAside(): Promise<void> {
    const old = this.#pieces.length >= maxPieces ? this.#pieces : []
    const before = old.length === 0 ? [] : await this.#readPieces()
    const body = Buffer.concat([...before, ...this.#tail.take(this.#tail.size)])
    const piece = await writePiece(this.#store.client, this.#key, body)
    this.#madeHere.push(piece.key)
    this.#spent.push(...old.map(({ key }) => key))
    this.#pieces = [...(old.length === 0 ? this.#pieces : []), piece]
  }

  #readPieces(): Promise<Buffer[]> {
    return Promise.all(this.#pieces.map(piece => readPiece(this.#store.client, piece)))
  }
}
