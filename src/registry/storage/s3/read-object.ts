/** Reading large objects: bytes that go on where they were torn, of the same version. */
import { Readable } from 'node:stream'
import { OciError } from '../../../oci/errors.ts'
import type { ObjectBytes, ObjectRange } from '../object-store.ts'
import { directBytes } from './direct-bytes.ts'
import { retrying, unavailable } from './retries.ts'
import type { S3Client, S3Response } from './s3-client.ts'
import { isAbsence, S3Failure } from './s3-failure.ts'

/** Breaks without a byte in between; a network that tears every answer is no network. */
const maxBreaks = 5

/** Throws `not-found`; while it is read `unavailable`. */
export async function readObject(
  client: S3Client,
  key: string,
  range?: ObjectRange,
): Promise<ObjectBytes> {
  if (range !== undefined && range.end > range.start) {
    const body = await client.get(key, range)
    const question = { key, end: range.end, etag: body?.etag }
    if (body !== undefined) {
      return directBytes(body, range, start => goOnReading(client, { ...question, start }))
    }
  }
  return readInOrder(client, key, range)
}

async function readInOrder(
  client: S3Client,
  key: string,
  range?: ObjectRange,
): Promise<AsyncIterable<Uint8Array>> {
  const isEmpty = range !== undefined && range.end <= range.start
  const start = range?.start ?? 0
  try {
    const first = await ask(client, {
      key,
      start: isEmpty ? 0 : start,
      end: isEmpty ? 1 : range?.end,
    })
    if (first === undefined || isEmpty) {
      first?.destroy()
      return nothing()
    }
    return resumed(client, { key, first, start, end: range?.end })
  } catch (cause) {
    if (!isAbsence(cause)) throw cause
    throw new OciError('not-found', `Cannot open object "${key}": none`, { cause })
  }
}

/** What is left of an object whose beginning was read, of the same version. */
async function goOnReading(
  client: S3Client,
  question: Question,
): Promise<AsyncIterable<Uint8Array>> {
  const first = await ask(client, question)
  if (first === undefined) throw unavailable(`Cannot read object "${question.key}"`, undefined)
  return resumed(client, { ...question, first })
}

interface Question {
  readonly key: string
  readonly start: number
  readonly end?: number | undefined
  /** Only of this version. */
  readonly etag?: string | undefined
}

/** `undefined` when the object ends before the range starts: it is empty. */
function ask(
  client: S3Client,
  { key, start, end, etag }: Question,
): Promise<S3Response | undefined> {
  const isWhole = start === 0 && end === undefined
  const headers: Record<string, string> = {
    ...(isWhole ? {} : { range: `bytes=${start}-${end === undefined ? '' : end - 1}` }),
    ...(etag === undefined ? {} : { 'if-match': etag }),
  }
  return retrying(`Cannot read object "${key}"`, async () => {
    try {
      const response = await client.send({ method: 'GET', key, headers })
      if (isWhole || response.statusCode === 206) return response
      response.destroy()
      throw unavailable(`Cannot read object "${key}"`, new Error('The storage ignored the range'))
    } catch (error) {
      if (error instanceof S3Failure && error.status === 416) return undefined
      throw error
    }
  })
}

/** As a stream that hands chunks on as they come: a generator would cost several turns for each. */
function resumed(
  client: S3Client,
  { key, first, start, end }: Question & { readonly first: S3Response },
): Readable {
  const { etag } = first.headers
  let current = first
  let position = start
  let breaks = 0
  const stream = new Readable({
    highWaterMark: 512 * 1024,
    read: () => void current.resume(),
    destroy: (error, done) => {
      current.destroy()
      done(error)
    },
  })
  const follow = (response: S3Response) => {
    current = response
    response.on('data', (chunk: Buffer) => {
      position += chunk.length
      breaks = 0
      if (!stream.push(chunk)) response.pause()
    })
    response.once('end', () => {
      // The client was told how much comes; it would wait for the rest.
      if (end === undefined || position >= end) stream.push(null)
      else stream.destroy(unavailable(`Cannot read object "${key}"`, new Error('It is shorter')))
    })
    response.once('error', goOn)
    if (stream.destroyed) response.destroy()
  }
  const goOn = (cause: Error) => {
    if (stream.destroyed) return
    breaks++
    if (breaks > maxBreaks || etag === undefined) {
      stream.destroy(unavailable(`Cannot read object "${key}"`, cause))
      return
    }
    ask(client, { key, start: position, end, etag }).then(
      next => (next === undefined ? void stream.push(null) : follow(next)),
      (error: Error) => void stream.destroy(error),
    )
  }
  follow(first)
  return stream
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // No bytes.
}
