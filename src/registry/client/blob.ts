/**
 * Blobs from a registry, as streams that survive broken connections.
 *
 * A download that breaks goes on from the byte it stopped at (Range). No ETag is needed to know
 * that the rest belongs to the beginning: the digest decides in the end.
 */
import { verified } from '../../layerfs/content/verified.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { OciError } from '../../oci/errors.ts'
import type { RegistryClient } from './client.ts'
import { describeRepository, type Repository, sendRequest } from './request.ts'
import { pause, pauseAfter } from './retry.ts'
import type { HttpResponse } from './transport.ts'

export interface BlobRequest {
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>
  readonly signal?: AbortSignal | undefined
}

export interface BlobRest extends BlobRequest {
  /** How many of its first bytes the caller has; not all of them. */
  readonly start?: number
}

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

/**
 * As {@link fetchBlob} for callers that verify the digest themselves: the bytes from `start` on,
 * exactly up to `size`, or `digest-mismatch`. Throws `RegistryError`, and `TransportError` when the connection breaks
 * repeatedly without a byte arriving.
 */
export async function* streamBlob(
  client: RegistryClient,
  from: Repository,
  request: BlobRest,
): AsyncGenerator<Uint8Array> {
  const { size } = request.descriptor
  let received = request.start ?? 0
  let failures = 0
  do {
    try {
      for await (const chunk of readFrom(client, from, { ...request, start: received })) {
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

type RangedRequest = BlobRequest & { readonly start: number }

async function* readFrom(
  client: RegistryClient,
  from: Repository,
  request: RangedRequest,
): AsyncGenerator<Uint8Array> {
  await using response = await requestBlob(client, from, request)
  yield* skipBytes(response.body, request.start - startOf(response))
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

/** Where the body begins in the blob. A registry without Range answers 200 with the whole. */
function startOf(response: HttpResponse): number {
  if (response.status !== 206) return 0
  const start = /^bytes (\d{1,15})-/.exec(response.header('content-range') ?? '')?.[1]
  return Number(start ?? Number.NaN)
}

/** Throws `invalid` for a body that begins after the byte that is needed. */
async function* skipBytes(
  body: AsyncIterable<Uint8Array>,
  count: number,
): AsyncGenerator<Uint8Array> {
  if (!(count >= 0)) {
    throw new OciError('invalid', 'Cannot resume the download: the registry sent another range')
  }
  let left = count
  for await (const chunk of body) {
    const skipped = Math.min(left, chunk.byteLength)
    left -= skipped
    if (skipped < chunk.byteLength) yield chunk.subarray(skipped)
  }
}

function wrongSize(from: Repository, request: BlobRequest, got: string): OciError {
  return new OciError(
    'digest-mismatch',
    `${cannotPull(from, request)}: expected ${request.descriptor.size} bytes, got ${got}`,
  )
}

function cannotPull(from: Repository, { descriptor }: BlobRequest): string {
  return `Cannot pull "${describeRepository(from)}@${descriptor.digest}"`
}
