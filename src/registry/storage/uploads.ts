/**
 * Uploads: bytes that arrive over one or several requests and become a blob.
 *
 * The bytes are hashed as they are written, once, under the key they keep. What a broken request
 * delivered is kept and the client may go on from there. Only bytes whose digest is the one asked
 * for become a blob; on a mismatch they are deleted, and the session with them. Bytes always have a
 * session or a record that names them, so those that have neither can be collected at any time.
 */
import { createHash } from 'node:crypto'
import { type Algorithm, algorithmOf, type Digest, finishDigest } from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { commitBlob, type StoredBlob } from './blobs.ts'
import { batchSizeOf, type RunningHash } from './live-uploads.ts'
import type { Append } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError, UploadRangeError } from './resource-error.ts'
import {
  closeSession,
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
  readonly bytes: AsyncIterable<Uint8Array>
  /** Where the client says the chunk starts and ends (inclusive); absent when it streams. */
  readonly range?: { readonly first: number; readonly last: number } | undefined
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
  const hash = runningHash(storage, session, session.algorithm)
  const append = await receiveOrKeep(storage, session, { chunk, hash })
  const { checkpoint } = await keepTurn(storage, session, await append.checkpoint())
  storage.uploads.hashes.set(session.id, hash)
  return checkpoint.size
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
  using turn = await takeTurn(storage, address)
  const { session } = turn
  mustStartAtEnd(session, finish.chunk)
  const hash = runningHash(storage, session, algorithmOf(finish.digest))
  const append = await receiveOrKeep(storage, session, { chunk: finish.chunk, hash })
  await append.complete()
  const blob = { digest: finish.digest, key: session.key }
  const size = await sizeOfCompleted(storage, session.key)
  const actual = await digestOfStored(storage, { ...blob, size }, hash)
  // Before anything refers to the bytes: whoever took the session over may still cut them.
  const closed = await closeSession(storage, session)
  await mustBe(storage, { blob: { ...blob, size }, actual, session: closed })
  await commitBlob(storage, session.repository, { ...blob, size })
  await endSession(storage, closed)
  return { ...blob, size }
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

/** The whole blob in one request. Throws `digest-mismatch`, leaving nothing. */
export async function uploadWhole(
  storage: RegistryStorage,
  repository: RepositoryName,
  upload: { readonly digest: Digest; readonly bytes: AsyncIterable<Uint8Array> },
): Promise<StoredBlob> {
  const session = await createSession(storage, repository, algorithmOf(upload.digest))
  const { key } = session
  const hash = newHash(storage, session.algorithm)
  const append = await storage.objects.append(key)
  storage.uploads.busy.add(session.id)
  try {
    await writeHashed(append, upload.bytes, hash)
  } catch (error) {
    await storage.objects.discard(key, await append.checkpoint())
    await endSession(storage, session)
    throw error
  } finally {
    storage.uploads.busy.delete(session.id)
  }
  await append.complete()
  const closed = await closeSession(storage, session)
  const blob = { digest: upload.digest, size: hash.size, key }
  const actual = await digestOfStored(storage, blob, hash)
  await mustBe(storage, { blob, actual, session: closed })
  await commitBlob(storage, repository, blob)
  await endSession(storage, closed)
  return blob
}

interface Incoming {
  readonly chunk: Chunk
  readonly hash: RunningHash
}

/**
 * Writes the chunk and leaves the turn at the object open. On failure it is ended: a chunk that was
 * wrong is dropped, what came of one that broke off is kept for the client to go on from.
 */
async function receiveOrKeep(
  storage: RegistryStorage,
  session: UploadSession,
  incoming: Incoming,
): Promise<Append> {
  const append = await continueObject(storage, session)
  try {
    await receive(append, incoming.chunk, incoming.hash)
    return append
  } catch (error) {
    if (error instanceof ResourceError) {
      await append[Symbol.asyncDispose]()
      throw error
    }
    await keepTurn(storage, session, await append.checkpoint())
    storage.uploads.hashes.set(session.id, incoming.hash)
    throw error
  }
}

/** Throws `not-found` of the upload when a power failure took its bytes: the client starts anew. */
async function continueObject(storage: RegistryStorage, session: UploadSession): Promise<Append> {
  try {
    return await storage.objects.append(session.key, session.checkpoint)
  } catch (cause) {
    if (!hasCode(cause, 'not-found')) throw cause
    throw new ResourceError('not-found upload', `Cannot find the bytes of upload "${session.id}"`, {
      cause,
    })
  }
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
  const size = await writeHashed(append, atMost(chunk.bytes, expected), hash)
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

/** The hash of what the session has, continued; or one that has seen too little and is not used. */
function runningHash(
  storage: RegistryStorage,
  session: UploadSession,
  algorithm: Algorithm,
): RunningHash {
  const live = storage.uploads.hashes.get(session.id)
  storage.uploads.hashes.delete(session.id)
  return live?.size === session.checkpoint.size ? live : newHash(storage, algorithm)
}

function newHash({ uploads }: RegistryStorage, algorithm: Algorithm): RunningHash {
  return {
    algorithm,
    hash: createHash(algorithm),
    size: 0,
    batchSize: () => batchSizeOf(uploads),
  }
}

async function sizeOfCompleted(storage: RegistryStorage, key: string): Promise<number> {
  const size = await storage.objects.size(key)
  if (size === undefined) throw new OciError('unavailable', `Cannot find object "${key}"`)
  return size
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

/** From the running hash when it saw every byte, else by reading them: after a restart, or sha512. */
async function digestOfStored(
  storage: RegistryStorage,
  blob: StoredBlob,
  running: RunningHash,
): Promise<Digest> {
  const algorithm = algorithmOf(blob.digest)
  if (running.algorithm === algorithm && running.size === blob.size) {
    return finishDigest(running.hash, algorithm)
  }
  const hash = createHash(algorithm)
  for await (const chunk of await storage.objects.open(blob.key)) hash.update(chunk)
  return finishDigest(hash, algorithm)
}
