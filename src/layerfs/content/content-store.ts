/**
 * ContentStore: immutable bytes by digest. Where pull, unpack, diff and push meet.
 *
 *   ingest ──write──► (invisible) ──commit──► blob ──remove──► gone
 *
 * 1. A blob is visible under its digest only after its bytes are complete, verified and synced.
 * 2. A visible blob never changes. Committing the same bytes again is no error and no second copy.
 * 3. An ingest that is disposed without a commit leaves nothing behind.
 * 4. A download that is disposed without a commit, or whose process dies, leaves what arrived for
 *    the next one of the same digest. No two processes receive one blob at the same time.
 */
import { algorithmOf, type Digest } from '../../oci/digest.ts'
import type { Algorithm } from '../../oci/digest-hash.ts'
import { OciError } from '../../oci/errors.ts'
import type { Received, ReceiveLimits, receive } from './receive.ts'

export interface BlobInfo {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/** Half-open: bytes `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number
  readonly end?: number
}

/** What {@link BlobReader.read} takes into memory unless told otherwise. */
export const maxDocumentSize = 16 * 1024 * 1024

export interface BlobReader {
  /** `undefined` when there is no such blob. */
  find(digest: Digest): Promise<BlobInfo | undefined>
  /** The bytes in order, in chunks of any size. The first chunk throws `not-found`. */
  open(digest: Digest, range?: ByteRange): AsyncIterable<Uint8Array>
  /**
   * The whole of a small blob, verified again. Throws `not-found`; `too-large` above `maxSize`
   * (default {@link maxDocumentSize}); `digest-mismatch` when the disk changed it.
   */
  read(digest: Digest, maxSize?: number): Promise<Uint8Array>
}

export interface Expected {
  readonly digest?: Digest
  readonly size?: number
}

export interface Ingest extends AsyncDisposable {
  /** Appends. Throws `unavailable` when the disk is full. Chunks are not kept after the promise resolves. */
  write(chunk: Uint8Array): Promise<void>
  /**
   * Verifies, syncs and makes visible. Throws `digest-mismatch` (also for a wrong size), leaving
   * nothing. Ends the ingest.
   */
  commit(expected?: Expected): Promise<BlobInfo>
}

/** Bytes of a known digest arriving, from where an earlier download of it stopped. */
export interface Download extends AsyncDisposable {
  /** How many of the bytes are there already. */
  readonly received: number
  /** Appends, as {@link Ingest.write}. */
  write(chunk: Uint8Array): Promise<void>
  /**
   * Appends the next `count` bytes of a plain connection, as {@link receive}; absent where there is no
   * such way. Throws as `write`, and the signal's reason; that the connection broke it only tells.
   */
  readonly receive?: (socket: number, count: number, limits: ReceiveLimits) => Promise<Received>
  /** As {@link Ingest.commit}, against the blob that was asked for. */
  commit(): Promise<BlobInfo>
  /** Leaves nothing: what arrived is not the blob's. Ends the download. */
  discard(): Promise<void>
}

export interface BlobWriter {
  /** Starts bytes arriving; their digest will be of `algorithm` (default sha256). */
  ingest(algorithm?: Algorithm): Promise<Ingest>
}

export interface ContentStore extends BlobReader, BlobWriter {
  /**
   * Starts or goes on to receive `blob`; waits while another process does. `undefined` when it is
   * in the store, perhaps by now. Rejects with the signal's reason.
   */
  download(blob: BlobInfo, signal?: AbortSignal): Promise<Download | undefined>
  /** Where the blob's file is, whether it exists or not: for workers that read it themselves. */
  pathOf(digest: Digest): string
  /** Idempotent. */
  remove(digest: Digest): Promise<void>
  list(): AsyncIterable<BlobInfo>
}

/** Streams `chunks` into a new blob; on any failure nothing is left. */
export async function putBlob(
  store: BlobWriter,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  expected: Expected = {},
): Promise<BlobInfo> {
  const { digest } = expected
  await using ingest = await store.ingest(digest === undefined ? 'sha256' : algorithmOf(digest))
  for await (const chunk of chunks) await ingest.write(chunk)
  // Awaited here: a bare return would dispose the ingest while it commits.
  return await ingest.commit(expected)
}

/** What every `commit` checks; `digest-mismatch` with both values. */
export function assertExpected(info: BlobInfo, expected: Expected): void {
  if (expected.size !== undefined && expected.size !== info.size) {
    throw new OciError(
      'digest-mismatch',
      `Cannot store blob ${expected.digest ?? info.digest}: expected ${expected.size} bytes, got ${info.size}`,
    )
  }
  if (expected.digest !== undefined && expected.digest !== info.digest) {
    throw new OciError(
      'digest-mismatch',
      `Cannot store blob ${expected.digest}: the bytes received are ${info.digest}`,
    )
  }
}
