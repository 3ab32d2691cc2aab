/**
 * Blobs from a registry, as streams that survive broken connections.
 *
 * A download that breaks goes on from the byte it stopped at (Range). No ETag is needed to know
 * that the rest belongs to the beginning: the digest decides in the end.
 */
import type { Received } from '../../layerfs/content/receive.ts'
import { verified } from '../../layerfs/content/verified.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import type { RegistryClient } from './client.ts'
import { describeRepository, type Repository, sendRequest } from './request.ts'
import { pause, pauseAfter, retrying } from './retry.ts'
import type { BodyTaken, HttpResponse } from './transport.ts'

export interface BlobRequest {
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>
  readonly signal?: AbortSignal | undefined
}

export interface BlobRest extends BlobRequest {
  /** How many of its first bytes the caller has; not all of them. */
  readonly start?: number
  /** One that has begun, to a request for the whole: it is read before another is asked for. */
  readonly answer?: HttpResponse
  /** Takes what is left of a body from its connection, where that can be: a chunk that nobody sees. */
  readonly take?: TakeBytes
}

export type TakeBytes = (body: BodyTaken) => Promise<Received>

/** Bytes that are where they belong already. */
export type TakenBytes = Pick<Uint8Array, 'byteLength'>

/**
 * The bytes of a blob, verified: throws `digest-mismatch` after the last chunk when they are not
 * the digest's, and earlier when they are too many. Throws what {@link streamBlob} throws.
 */
export async function* fetchBlob(
  client: RegistryClient,
  from: Repository,
  request: BlobRequest,
): AsyncGenerator<Uint8Array> {
  yield* verified(streamBlob(client, from, request), request.descriptor, cannotPull(from, request))
}

export interface BlobToOpen {
  readonly digest: Digest
  readonly size?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface OpenedBlob {
  readonly size: number
  /** As {@link streamBlob} gives them. Must be read: they hold a connection. */
  readonly bytes: AsyncIterable<Uint8Array>
}

/**
 * A blob of which the caller may know no size: the registry's answer has it. Resolves when the
 * answer begins. Throws what `sendRequest` throws, `invalid` when the answer does not say how large
 * the blob is, and `digest-mismatch` when it is not as large as expected.
 */
export async function openBlob(
  client: RegistryClient,
  from: Repository,
  { digest, size: expected, signal }: BlobToOpen,
): Promise<OpenedBlob> {
  const open = () => requestBlob(client, from, { descriptor: { digest }, start: 0, signal })
  const first = await retrying(client.retry, open, signal)
  const size = lengthOf(first) ?? expected
  if (size === undefined || (expected !== undefined && size !== expected)) {
    await first[Symbol.asyncDispose]()
    const what = cannotPull(from, { descriptor: { digest } })
    if (size !== undefined) {
      throw new OciError('digest-mismatch', `${what}: expected ${expected} bytes, got ${size}`)
    }
    throw new OciError('invalid', `${what}: the registry does not say how large it is`)
  }
  const request = { descriptor: { digest, size }, signal }
  return { size, bytes: streamBlob(client, from, { ...request, answer: first }) }
}

/** The size of a blob, asked for with HEAD. Throws as {@link openBlob}. */
export async function sizeOfBlob(
  client: RegistryClient,
  from: Repository,
  digest: Digest,
): Promise<number | undefined> {
  await using response = await sendRequest(client, from, {
    method: 'HEAD',
    path: `blobs/${digest}`,
    action: `look for "${describeRepository(from)}@${digest}"`,
    access: 'pull',
    expect: [200],
  })
  return lengthOf(response)
}

function lengthOf(response: HttpResponse): number | undefined {
  const length = response.header('content-length') ?? ''
  return /^\d{1,15}$/.test(length) ? Number(length) : undefined
}

/**
 * As {@link fetchBlob} for callers that verify the digest themselves: the bytes from `start` on,
 * exactly up to `size`, or `digest-mismatch`. Throws `RegistryError`, and `TransportError` when the connection breaks
 * repeatedly without a byte arriving.
 */
export function streamBlob(
  client: RegistryClient,
  from: Repository,
  request: Omit<BlobRest, 'take'>,
): AsyncGenerator<Uint8Array>
export function streamBlob(
  client: RegistryClient,
  from: Repository,
  request: BlobRest,
): AsyncGenerator<Uint8Array | TakenBytes>
export async function* streamBlob(
  client: RegistryClient,
  from: Repository,
  request: BlobRest,
): AsyncGenerator<Uint8Array | TakenBytes> {
  const { size } = request.descriptor
  let received = request.start ?? 0
  let failures = 0
  const { answer: begun, ...rest } = request
  let answer = begun
  do {
    try {
      const bytes = readFrom(client, from, { ...rest, start: received, answer })
      answer = undefined
      for await (const chunk of bytes) {
        if (received + chunk.byteLength > size) throw wrongSize(from, request, 'more')
        received += chunk.byteLength
        failures = 0
        yield chunk
      }
      if (received < size) throw wrongSize(from, request, `${received}`)
    } catch (error) {
      failures++
      const pauseMs = pauseAfter(client.retry, failures, error)
      if (pauseMs === undefined) throw error
      await pause(pauseMs, request.signal)
    }
  } while (received < size)
}

interface RangedRequest extends Pick<BlobRequest, 'signal'> {
  readonly descriptor: Pick<Descriptor, 'digest'>
  readonly start: number
}

type ReadRequest = RangedRequest & Pick<BlobRest, 'descriptor' | 'take'>

/** Skips what is known: in the same loop, because each that chunks go through is felt (measured). */
async function* readFrom(
  client: RegistryClient,
  from: Repository,
  request: ReadRequest & { readonly answer: HttpResponse | undefined },
): AsyncGenerator<Uint8Array | TakenBytes> {
  await using response = request.answer ?? (await requestBlob(client, from, request))
  let known = bytesBefore(response, request.start)
  const { take, descriptor, start } = request
  using taken = known > 0 || take === undefined ? undefined : response.take(descriptor.size - start)
  if (take !== undefined && taken !== undefined) return yield* takeAll(taken, take)
  for await (const chunk of response.body) {
    const skipped = Math.min(known, chunk.byteLength)
    known -= skipped
    if (skipped < chunk.byteLength) yield chunk.subarray(skipped)
  }
}

async function* takeAll(body: BodyTaken, take: TakeBytes): AsyncGenerator<Uint8Array | TakenBytes> {
  if (body.first.byteLength > 0) yield body.first
  const told = await take(body)
  if (told.received > 0) yield { byteLength: told.received }
  if (told.end !== 'all received') throw body.brokenBy(told)
}

function requestBlob(
  client: RegistryClient,
  from: Repository,
  { descriptor, start, signal }: RangedRequest,
): Promise<HttpResponse> {
  return sendRequest(client, from, {
    method: 'GET',
    path: `blobs/${descriptor.digest}`,
    action: `pull "${describeRepository(from)}@${descriptor.digest}"`,
    access: 'pull',
    ...(start === 0 ? {} : { headers: { range: `bytes=${start}-` } }),
    expect: start === 0 ? [200] : [200, 206],
    // The loop above retries; doing it here too would multiply the attempts.
    onFailure: 'once',
    signal,
  })
}

/**
 * How many bytes of the body are before the one asked for. Throws `invalid` where it begins after
 * that. A registry without Range answers 200 with the whole.
 */
function bytesBefore(response: HttpResponse, wanted: number): number {
  const range = response.header('content-range') ?? ''
  const start = response.status === 206 ? /^bytes (\d{1,15})-/.exec(range)?.[1] : '0'
  const count = wanted - Number(start ?? Number.NaN)
  if (count >= 0) return count
  throw new OciError('invalid', 'Cannot resume the download: the registry sent another range')
}

function wrongSize(from: Repository, request: BlobRequest, got: string): OciError {
  return new OciError(
    'digest-mismatch',
    `${cannotPull(from, request)}: expected ${request.descriptor.size} bytes, got ${got}`,
  )
}

function cannotPull(
  from: Repository,
  { descriptor }: { readonly descriptor: Pick<Descriptor, 'digest'> },
): string {
  return `Cannot pull "${describeRepository(from)}@${descriptor.digest}"`
}
