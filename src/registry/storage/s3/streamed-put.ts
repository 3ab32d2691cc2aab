/**
 * One PUT for an object whose size is known, sent while it comes: one request and no memory. What is
 * lost when it fails is the whole object, so it is for clients that are fast.
 */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { conditionFailed } from '../object-store.ts'
import { unavailable } from './retries.ts'
import type { S3Client } from './s3-client.ts'
import { isConditionFailure } from './s3-failure.ts'

export class StreamedPut {
  /** The largest that S3 takes in one request. */
  static readonly maxSize = 5 * 1024 ** 3

  readonly #size: number
  readonly #body = new PassThrough({ highWaterMark: 1024 * 1024 })
  readonly #abort = new AbortController()
  readonly #answer: Promise<void>
  #failure: unknown

  constructor(
    client: S3Client,
    {
      key,
      size,
      isConditional,
    }: { readonly key: string; readonly size: number; readonly isConditional: boolean },
  ) {
    this.#size = size
    const headers = {
      'content-length': String(size),
      ...(isConditional ? { 'if-none-match': '*' } : {}),
    }
    const request = {
      method: 'PUT',
      key,
      headers,
      body: this.#body,
      signal: this.#abort.signal,
    } as const
    this.#answer = client.sendOnly(request).then(
      () => {},
      (cause: unknown) => {
        this.#failure = isConditionFailure(cause)
          ? conditionFailed(key)
          : unavailable(`Cannot write object "${key}"`, cause)
        this.#body.destroy()
      },
    )
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.#body.write(chunk)) continue
      await Promise.race([once(this.#body, 'drain'), this.#answer])
    }
  }

  /** The object is there, whole, when this resolves. */
  async complete(): Promise<number> {
    this.#body.end()
    await this.#answer
    if (this.#failure !== undefined) throw this.#failure
    return this.#size
  }

  async abort(): Promise<void> {
    this.#abort.abort()
    await this.#answer
  }
}
