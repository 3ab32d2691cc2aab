/** An ObjectStore in memory: for tests, and the smallest reading of the contract. */
import { createHash } from 'node:crypto'
import { OciError } from '../../oci/errors.ts'
import {
  type Append,
  type Checkpoint,
  type Condition,
  conditionFailed,
  type DeleteOptions,
  type ListPage,
  type ObjectRange,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
  type Unfinished,
} from './object-store.ts'

export class MemoryObjectStore implements ObjectStore {
  readonly isShared = true
  readonly isReliable: boolean = true
  readonly #objects = new Map<string, StoredObject>()
  readonly #unfinished = new Map<string, Uint8Array>()

  async get(key: string): Promise<StoredObject | undefined> {
    return this.#objects.get(key)
  }

  async size(key: string): Promise<number | undefined> {
    return this.#objects.get(key)?.bytes.length
  }

  async open(key: string, range?: ObjectRange): Promise<AsyncIterable<Uint8Array>> {
    const object = this.#objects.get(key)
    if (object === undefined) throw new OciError('not-found', `Cannot open object "${key}": none`)
    return inChunks(object.bytes.subarray(range?.start, range?.end))
  }

  async list(prefix: string, page: ListPage): Promise<readonly string[]> {
    const { startAfter } = page
    return [...this.#objects.keys()]
      .filter(key => key.startsWith(prefix) && (startAfter === undefined || key > startAfter))
      .sort()
      .slice(0, page.max)
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string> {
    this.#check(key, options.condition)
    const etag = createHash('sha256').update(bytes).digest('hex')
    this.#objects.set(key, { bytes: Uint8Array.from(bytes), etag })
    return etag
  }

  async delete(key: string, { condition }: DeleteOptions = {}): Promise<void> {
    this.#check(key, condition)
    this.#objects.delete(key)
  }

  async append(key: string, from: Checkpoint = { size: 0, token: '' }): Promise<Append> {
    const before = (this.#unfinished.get(key) ?? new Uint8Array()).slice(0, from.size)
    if (before.length < from.size) throw new OciError('not-found', 'Cannot continue object: none')
    const parts = [before]
    return {
      write: async chunks => {
        parts.push(...chunks.map(chunk => Uint8Array.from(chunk)))
      },
      checkpoint: async () => {
        const bytes = Buffer.concat(parts)
        this.#unfinished.set(key, bytes)
        return { size: bytes.length, token: '' }
      },
      complete: async () => {
        const bytes = Buffer.concat(parts)
        await this.put(key, bytes, { condition: { kind: 'absent' } })
        this.#unfinished.delete(key)
        return bytes.length
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  async discard(key: string): Promise<void> {
    this.#unfinished.delete(key)
  }

  async *unfinished(prefix: string): AsyncGenerator<Unfinished> {
    for (const key of [...this.#unfinished.keys()]) {
      if (key.startsWith(prefix)) yield { key, checkpoint: { size: 0, token: '' } }
    }
  }

  #check(key: string, condition: Condition | undefined): void {
    if (condition === undefined) return
    const etag = this.#objects.get(key)?.etag
    const expected = condition.kind === 'absent' ? undefined : condition.etag
    if (etag !== expected) throw conditionFailed(key)
  }
}

async function* inChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const size = 64 * 1024
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
