/**
 * The session object of an upload, and whose turn it is.
 *
 *   open ──takeTurn──► writing ──keepTurn──► open
 *     └──────────────────┴──────endSession──► gone
 *
 * 1. Every change is a compare-and-swap on the session object: a writer that lost its turn, in this
 *    process or another, cannot move the offset.
 * 2. `checkpoint.size` bytes are stored, and no more are believed.
 * 3. A turn left by a process that died is taken over; its unrecorded bytes are dropped. Where two
 *    turns would write over each other's bytes, whoever has the session claimed has the turn, and
 *    one of a process that lives is not taken over.
 * 4. The session names its bytes until the blob's record does. Whoever takes it over in between
 *    cannot harm them: they are complete (`ObjectAppender`).
 */
import { type Digest, isAlgorithm } from '../../oci/digest.ts'
import type { Algorithm } from '../../oci/digest-hash.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { dataKey, uploadKey } from './keys.ts'
import type { Checkpoint } from './object-store.ts'
import { encodeRecord, readRecord } from './records.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError, UploadRangeError } from './resource-error.ts'

export interface UploadSession {
  readonly id: string
  readonly repository: RepositoryName
  /** Where the bytes go, for good. */
  readonly key: string
  readonly checkpoint: Checkpoint
  /** The hash of the bytes that the checkpoint has, when whoever wrote the last of them had it. */
  readonly seen?: SeenBytes | undefined
  /** What the client said it will name the bytes by. */
  readonly algorithm: Algorithm
  /** When a request last wrote to it. */
  readonly touchedAt: string
  /** Earlier versions said so of one whose bytes became a blob; they did not mark the bytes. */
  readonly isClosed: boolean
  readonly etag: string
}

export interface SeenBytes {
  readonly size: number
  readonly digest: Digest
  /** To go on from, when it can be stored (resumable-hash.ts). */
  readonly state?: string
}

export interface UploadAddress {
  readonly repository: RepositoryName
  readonly id: string
}

/** One request's right to write. Disposing it lets the next one in. */
export interface UploadTurn extends Disposable {
  readonly session: UploadSession
}

export async function createSession(
  storage: RegistryStorage,
  repository: RepositoryName,
  algorithm: Algorithm,
): Promise<UploadSession> {
  const now = storage.now()
  const session = {
    id: storage.newId(),
    repository,
    key: dataKey(now, storage.newId()),
    checkpoint: { size: 0, token: '' },
    algorithm,
    touchedAt: now.toISOString(),
    isClosed: false,
  }
  const etag = await storage.objects.put(uploadKey(session.id), encodeSession(storage, session), {
    condition: { kind: 'absent' },
    durability: 'cached',
  })
  return { ...session, etag }
}

/** Throws `not-found` of the upload: also when it is another repository's. */
export async function findSession(
  storage: RegistryStorage,
  address: UploadAddress,
): Promise<UploadSession> {
  const session = await readSession(storage, address.id)
  if (session?.repository === address.repository && !session.isClosed) return session
  throw new ResourceError('not-found upload', `Cannot find upload "${address.id}"`)
}

/** Whatever repository it is of. */
export async function readSession(
  storage: RegistryStorage,
  id: string,
): Promise<UploadSession | undefined> {
  const record = await readRecord(storage.objects, uploadKey(id))
  const session = record === undefined ? undefined : sessionFrom(id, record.value)
  return record === undefined || session === undefined
    ? undefined
    : { ...session, etag: record.etag }
}

/**
 * Throws `not-found` of the upload, or a range conflict while another request writes. One that is to
 * `finish` the upload need not tell others: of several that complete the object one succeeds.
 */
export async function takeTurn(
  storage: RegistryStorage,
  address: UploadAddress,
  purpose: 'append' | 'finish' = 'append',
): Promise<UploadTurn> {
  const { busy } = storage.uploads
  const claim = busy.has(address.id) ? undefined : await claimSession(storage, address.id)
  if (claim === undefined) throw lostTurn(await findSession(storage, address))
  busy.add(address.id)
  const end = () => {
    busy.delete(address.id)
    claim[Symbol.dispose]()
  }
  try {
    const found = await findSession(storage, address)
    const isDecided = purpose === 'finish' || storage.objects.claim !== undefined
    const session = isDecided ? found : await swapSession(storage, found)
    return { session, [Symbol.dispose]: end }
  } catch (error) {
    end()
    throw error
  }
}

/** `undefined` while a turn of another process has it, and when there is none. */
export async function claimSession(
  { objects }: RegistryStorage,
  id: string,
): Promise<Disposable | undefined> {
  return objects.claim === undefined ? { [Symbol.dispose]: () => {} } : objects.claim(uploadKey(id))
}

/** Records how far the turn came. Throws a range conflict when another writer took it over. */
export function keepTurn(
  storage: RegistryStorage,
  session: UploadSession,
  progress: { readonly checkpoint: Checkpoint; readonly seen?: SeenBytes | undefined },
): Promise<UploadSession> {
  // Of a request that broke off a server may keep what it got, under the key it was for.
  const key = progress.checkpoint.size === 0 ? dataKey(storage.now(), storage.newId()) : session.key
  return swapSession(storage, { ...session, key, seen: undefined, ...progress })
}

/** Ends the session. Throws a range conflict when another writer took it over. */
export async function endSession(storage: RegistryStorage, session: UploadSession): Promise<void> {
  storage.uploads.hashes.delete(session.id)
  try {
    await storage.objects.delete(uploadKey(session.id), {
      condition: { kind: 'matches', etag: session.etag },
      // One that comes back expires.
      durability: 'cached',
      // By its turn, or as nobody was told of it.
      isClaimed: storage.objects.claim !== undefined,
    })
  } catch (error) {
    throw hasCode(error, 'conflict') ? lostTurn(session) : error
  }
}

async function swapSession(
  storage: RegistryStorage,
  session: UploadSession,
): Promise<UploadSession> {
  const touched = { ...session, touchedAt: storage.now().toISOString() }
  try {
    const etag = await storage.objects.put(uploadKey(session.id), encodeSession(storage, touched), {
      condition: { kind: 'matches', etag: session.etag },
      durability: 'cached',
    })
    return { ...touched, etag }
  } catch (error) {
    throw hasCode(error, 'conflict') ? lostTurn(session) : error
  }
}

function lostTurn(session: UploadSession): UploadRangeError {
  return new UploadRangeError(
    `Cannot write to upload "${session.id}": another request is writing to it`,
    session.checkpoint.size,
  )
}

/** The nonce makes every version of the session a different object, so no etag comes back. */
function encodeSession(storage: RegistryStorage, session: Omit<UploadSession, 'etag'>): Uint8Array {
  const { id: _, ...value } = session
  return encodeRecord({ ...value, etag: undefined, nonce: storage.newId() })
}

function sessionFrom(
  id: string,
  value: Readonly<Record<string, unknown>>,
): Omit<UploadSession, 'etag'> | undefined {
  const { repository, key, checkpoint, seen, algorithm, touchedAt, isClosed } =
    value as Partial<UploadSession>
  if (typeof repository !== 'string' || typeof key !== 'string') return undefined
  if (typeof checkpoint?.size !== 'number' || typeof algorithm !== 'string') return undefined
  if (!isAlgorithm(algorithm)) return undefined
  return {
    id,
    repository,
    key,
    checkpoint,
    seen: typeof seen?.size === 'number' && typeof seen.digest === 'string' ? seen : undefined,
    algorithm,
    touchedAt: String(touchedAt),
    isClosed: isClosed === true,
  }
}
