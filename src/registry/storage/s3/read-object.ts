/** Reading large objects: a stream that goes on where it was torn, of the same version. */
import { OciError } from '../../../oci/errors.ts'
import type { ObjectRange } from '../object-store.ts'
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

interface Question {
  readonly key: string
  readonly start: number
  readonly end?: number | undefined
  /** Only of this version. */
  readonly etag?: string
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
      return await client.send({ method: 'GET', key, headers })
    } catch (error) {
      if (error instanceof S3Failure && error.status === 416) return undefined
      throw error
    }
  })
}

async function* resumed(
  client: S3Client,
  { key, first, start, end }: Question & { readonly first: S3Response },
): AsyncGenerator<Uint8Array> {
  const { etag } = first.headers
  let position = start
  let breaks = 0
  let response: S3Response | undefined = first
  while (response !== undefined) {
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        position += chunk.length
        breaks = 0
        yield chunk
      }
      return
    } catch (cause) {
      breaks++
      if (breaks > maxBreaks || etag === undefined)
        throw unavailable(`Cannot read object "${key}"`, cause)
      response = await ask(client, { key, start: position, end, etag })
    }
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // No bytes.
}
