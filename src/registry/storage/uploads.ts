/**
 * Uploads: bytes that arrive over one or several requests and become a blob.
 *
 * The bytes are hashed as they are written, once, under the key they keep. What a broken request
 * delivered is kept and the client may go on from there. Only bytes whose digest is the one asked
 * for become a blob; on a mismatch they are deleted, and the session with them. Bytes always have a
 * session or a record that names them, so those that have neither can be collected at any time.
 */
import { algorithmOf, type Digest } from '../../oci/digest.ts'
import type { Algorithm } from '../../oci/digest-hash.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { ArrivingBytes } from './arriving-bytes.ts'
import { commitBlob, type StoredBlob } from './blobs.ts'
import type { RunningHash } from './live-uploads.ts'
import type { Append, Expected } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError, UploadRangeError } from './resource-error.ts'
import { digestOfStored, newHash, runningHash, seenBy } from './upload-hash.ts'
import {
  createSession,
  endSession,
  findSession,
  keepTurn,
  takeTurn,
  type UploadAddress,
  type UploadSession,
} from './upload-session.ts'
import { writeHashed } from './write-hashed.ts'

export interface Chunk {
  readonly bytes: ArrivingBytes
  /** Where the client says the chunk starts and ends (inclusive); absent when it streams. */
  readonly range?: { readonly first: number; readonly last: number } | undefined
  /** How many bytes there will be, when that is known. */
  readonly size?: number | undefined
}

/** Starts a session. Nothing is visible until {@link finishUpload}. */
export function startUpload(
  storage: RegistryStorage,
  repository: RepositoryName,
  algorithm: Algorithm = 'sha256',
): Promise<UploadSession> {
  return createSession(storage, repository, algorithm)
}

/** Bytes received so far. Throws `not-found` of the upload. */
export async function uploadedSize(
  storage: RegistryStorage,
  address: UploadAddress,
): Promise<number> {
  return (await findSession(storage, address)).checkpoint.size
}

/**
 * Appends a chunk and returns the bytes received so far. Throws `not-found` of the upload, a range
 * conflict when the chunk starts elsewhere or another request writes, `invalid` of the size when
 * the chunk is not as long as its range (and then it is dropped). When the bytes stop coming, those
 * received are kept and the error passes on.
 */
export async function appendToUpload(
  storage: RegistryStorage,
  address: UploadAddress,
  chunk: Chunk,
): Promise<number> {
  using turn = await takeTurn(storage, address)
  const { session } = turn
  mustStartAtEnd(session, chunk)
  // Whoever announces a chunk will send others, each to any replica.
  const isResumable = storage.objects.isShared && chunk.range !== undefined
  const hash = runningHash(storage, session, { algorithm: session.algorithm, isResumable })
  const append = await receiveOrKeep(storage, session, { chunk, hash })
  return keepBytes(storage, session, { append, hash })
}

export interface Finish {
  readonly digest: Digest
  /** The last chunk, when it comes with the request that finishes. */
  readonly chunk: Chunk
}

/**
 * Appends the last chunk, verifies everything and makes it a blob of the repository. Throws as
 * {@link appendToUpload}, and `digest-mismatch`, which ends the upload.
 */
export async function finishUpload(
  storage: RegistryStorage,
  address: UploadAddress,
  finish: Finish,
): Promise<StoredBlob> {
  using turn = await takeTurn(storage, address, 'finish')
  const { session } = turn
  mustStartAtEnd(session, finish.chunk)
  const algorithm = algorithmOf(finish.digest)
  const hash = runningHash(storage, session, { algorithm, isResumable: false })
  const append = await receiveOrKeep(storage, session, { chunk: finish.chunk, hash, isLast: true })
  const expected = { digest: finish.digest, key: session.key, size: hash.size }
  const blob = await commitBlob(storage, session.repository, {
    expected,
    complete: async () => {
      const blob = { ...expected, size: await complete(session, append) }
      const actual = await digestOfStored(storage, blob, { hash, seen: session.seen })
      await mustBe(storage, { blob, actual, session })
      return blob
    },
  })
  await forgetSession(storage, session)
  return blob
}

/**
 * The blob is there: a session that another request changed meanwhile expires by itself. Nobody waits
 * for a trip to a store that is far, and one that fails leaves what expires as well.
 */
async function forgetSession(storage: RegistryStorage, session: UploadSession): Promise<void> {
  const ended = endSession(storage, session)
  if (storage.objects.isFar === true) {
    ended.catch(() => {})
    return
  }
  try {
    await ended
  } catch (error) {
    if (!(error instanceof UploadRangeError)) throw error
  }
}

/** Cancels. Throws `not-found` of the upload, or a range conflict while a request writes to it. */
export async function cancelUpload(
  storage: RegistryStorage,
  address: UploadAddress,
): Promise<void> {
  using turn = await takeTurn(storage, address)
  await endSession(storage, turn.session)
  await storage.objects.discard(turn.session.key, turn.session.checkpoint)
}

export interface WholeBlob extends Pick<Chunk, 'bytes' | 'size'> {
  readonly digest: Digest
  /** Told where the bytes go, and how many are there, each time that it is more. */
  readonly onWritten?: (key: string, size: number) => void
}

/** The whole blob in one request. Throws `digest-mismatch`, leaving nothing. */
export async function uploadWhole(
  storage: RegistryStorage,
  repository: RepositoryName,
  upload: WholeBlob,
): Promise<StoredBlob> {
  const session = await createSession(storage, repository, algorithmOf(upload.digest))
  const { key } = session
  const hash = newHash(storage, session.algorithm)
  const append = await storage.objects.append(key, undefined, expectedOf(upload.size))
  storage.uploads.busy.add(session.id)
  try {
    await writeHashed(telling(append, key, upload.onWritten), upload.bytes, hash)
  } catch (error) {
    await storage.objects.discard(key, await append.checkpoint())
    await endSession(storage, session)
    throw error
  } finally {
    storage.uploads.busy.delete(session.id)
  }
  const blob = { digest: upload.digest, size: hash.size, key }
  await commitBlob(storage, repository, {
    expected: blob,
    complete: async () => {
      await append.complete()
      const actual = await digestOfStored(storage, blob, { hash })
      await mustBe(storage, { blob, actual, session })
      return blob
    },
  })
  await forgetSession(storage, session)
  return blob
}

function telling(
  append: Append,
  key: string,
  onWritten: WholeBlob['onWritten'],
): Pick<Append, 'write'> {
  if (onWritten === undefined) return append
  let size = 0
  return {
    write: async chunks => {
      await append.write(chunks)
      for (const { length } of chunks) size += length
      onWritten(key, size)
    },
  }
}

interface Incoming {
  readonly chunk: Chunk
  readonly hash: RunningHash
  /** The turn ends with the object complete. */
  readonly isLast?: boolean
}

/**
 * Writes the chunk and leaves the turn at the object open. On failure it is ended: a chunk that was
 * wrong is dropped, what came of one that broke off is kept for the client to go on from.
 */
async function receiveOrKeep(
  storage: RegistryStorage,
  session: UploadSession,
  { chunk, hash, isLast = false }: Incoming,
): Promise<Append> {
  const isWhole = isLast && session.checkpoint.size === 0
  const append = await continueObject(storage, session, isWhole ? chunk.size : undefined)
  try {
    await receive(append, chunk, hash)
    return append
  } catch (error) {
    if (error instanceof ResourceError) {
      await append[Symbol.asyncDispose]()
      throw error
    }
    if (hasCode(error, 'not-found')) throw lostBytes(session, error)
    await keepBytes(storage, session, { append, hash })
    throw error
  }
}

/** Ends the turn, and returns how many bytes there are now. */
async function keepBytes(
  storage: RegistryStorage,
  session: UploadSession,
  { append, hash }: { readonly append: Append; readonly hash: RunningHash },
): Promise<number> {
  const checkpoint = await append.checkpoint()
  const kept = await keepTurn(storage, session, { checkpoint, seen: seenBy(hash, checkpoint.size) })
  storage.uploads.hashes.set(session.id, hash)
  return kept.checkpoint.size
}

/** Another request may have completed the upload, or given it up, while this one wrote. */
async function complete(session: UploadSession, append: Append): Promise<number> {
  try {
    return await append.complete()
  } catch (error) {
    throw isLost(error) ? lostBytes(session, error) : error
  }
}

function isLost(error: unknown): boolean {
  return hasCode(error, 'not-found') || hasCode(error, 'conflict')
}

function expectedOf(size: number | undefined): Expected | undefined {
  return size === undefined ? undefined : { size }
}

/**
 * Throws `not-found` of the upload, and the client starts anew, when a power failure took its bytes, or
 * a process was killed that had completed them.
 */
async function continueObject(
  storage: RegistryStorage,
  { key, checkpoint, ...session }: UploadSession,
  size: number | undefined,
): Promise<Append> {
  try {
    return await storage.objects.append(key, checkpoint, expectedOf(size))
  } catch (cause) {
    throw isLost(cause) ? lostBytes(session, cause) : cause
  }
}

function lostBytes({ id }: Pick<UploadSession, 'id'>, cause: unknown): ResourceError {
  return new ResourceError('not-found upload', `Cannot find the bytes of upload "${id}"`, { cause })
}

function mustStartAtEnd(session: UploadSession, chunk: Chunk): void {
  const received = session.checkpoint.size
  if (chunk.range === undefined || chunk.range.first === received) return
  throw new UploadRangeError(
    `Cannot append chunk at ${chunk.range.first}: the upload has ${received} bytes`,
    received,
  )
}

/** Writes the chunk; when it has a range, exactly as many bytes as the range says. */
async function receive(append: Append, chunk: Chunk, hash: RunningHash): Promise<number> {
  if (chunk.range === undefined) return writeHashed(append, chunk.bytes, hash)
  const expected = chunk.range.last - chunk.range.first + 1
  // Of a body whose length was told there are never more.
  const bytes = chunk.size === expected ? chunk.bytes : atMost(chunk.bytes, expected)
  const size = await writeHashed(append, bytes, hash)
  if (size < expected) throw wrongLength(expected, `${size}`)
  return size
}

async function* atMost(
  bytes: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<Uint8Array> {
  let size = 0
  for await (const chunk of bytes) {
    size += chunk.length
    if (size > limit) throw wrongLength(limit, 'more')
    yield chunk
  }
}

function wrongLength(expected: number, actual: string): ResourceError {
  return new ResourceError(
    'invalid size',
    `Cannot append chunk: expected ${expected} bytes as its Content-Range says, got ${actual}`,
  )
}

interface Judged {
  readonly blob: StoredBlob
  readonly actual: Digest
  readonly session: UploadSession
}

/** Throws `digest-mismatch` of the blob, its bytes deleted and the session with them. */
async function mustBe(storage: RegistryStorage, { blob, actual, session }: Judged): Promise<void> {
  if (actual === blob.digest) return
  await storage.objects.delete(blob.key)
  await endSession(storage, session)
  throw new ResourceError(
    'digest-mismatch blob',
    `Cannot store blob: expected digest "${blob.digest}", got "${actual}"`,
    { detail: { expected: blob.digest, actual } },
  )
}
