/**
 * Blobs: bytes stored once for all repositories, and the links by which a repository has them.
 *
 * 1. A record or link exists only after its bytes are complete, verified and synced.
 * 2. A blob is read through a repository's link only: knowing a digest gives no access.
 * 3. A link needs its record, and the record is found to be needed: it names the first repository that
 *    had the blob, and there is a hint for each other. Whoever makes a link, or promises that it is
 *    there, makes the hint afterwards and then reads the record, and rescues both (condemn.ts).
 * 4. A record that is made after the link need not be read: whoever condemns it finds the link.
 *    So the order of a new blob is bytes, link, record; a link without a record promises nothing.
 */

import { algorithmOf, type Digest, finishDigest } from '../../oci/digest.ts'
import { createDigestHash } from '../../oci/digest-hash.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { askAhead } from './ask-ahead.ts'
import { atOnce } from './at-once.ts'
import { makeOrRescue, rescue } from './condemn.ts'
import { isConfirmed } from './confirmed.ts'
import { blobLinkKey, blobRecordKey, holderKey, holdersPrefix, nameFromListed } from './keys.ts'
import type { ObjectBytes, ObjectRange, StoredObject } from './object-store.ts'
import { decodeRecord, encodeRecord } from './records.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'
import { together } from './together.ts'

export interface StoredBlob {
  readonly digest: Digest
  readonly size: number
  /** Where the bytes are. */
  readonly key: string
}

/** `undefined` when the repository has no such blob, or its bytes are not whole any more. */
export async function findBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<StoredBlob | undefined> {
  const link = await readBlob(storage, blobLinkKey(repository, digest), digest)
  if (link === undefined || (await isWhole(storage, link))) return link
  // A push to another repository may have replaced the bytes since.
  const record = await readBlob(storage, blobRecordKey(digest), digest)
  return record !== undefined && (await isWhole(storage, record)) ? record : undefined
}

/** The blob as some repository has it; who asks must know by other means that they may have it. */
export async function findRecord(
  storage: RegistryStorage,
  digest: Digest,
): Promise<StoredBlob | undefined> {
  const record = await readBlob(storage, blobRecordKey(digest), digest)
  return record !== undefined && (await hasBytes(storage, record)) ? record : undefined
}

/**
 * As {@link findBlob}, and a promise: a manifest that names the blob may be pushed within the time
 * of grace. What was to be collected is rescued. `seen` is the link, when it was read just now.
 */
export async function holdBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  { digest, seen }: { readonly digest: Digest; readonly seen?: StoredObject | undefined },
): Promise<StoredBlob | undefined> {
  const { objects, confirmed } = storage
  const known = seen === undefined ? await findKnown(storage, repository, digest) : undefined
  if (known !== undefined) return known
  const key = blobLinkKey(repository, digest)
  const link = await rescue(storage, key, seen)
  const named = blobFrom(digest, link)
  if (link === undefined || named === undefined) return undefined
  const isFound = isConfirmed(confirmed, key, link)
  // Who asks whether to send the blob hears the truth of all of it; who has sent it knows of it.
  const isTrusted = seen !== undefined && objects.isReliable
  if (isTrusted && isFound) return named
  const [record, isThere] = await atOnce(
    storage,
    () => holdRecord(storage, repository, { named, isFound }),
    () => isTrusted || hasBytes(storage, named),
  )
  if (record === undefined) return undefined
  confirmed.set(key, link.etag)
  const isWhole = record.key === named.key ? isThere : await hasBytes(storage, record)
  return isWhole ? record : undefined
}

/**
 * A blob whose link is the version that this process saw whole, and whose bytes are there: its record
 * was needed all the time (confirmed.ts). `undefined` is no answer.
 */
async function findKnown(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<StoredBlob | undefined> {
  const { objects, confirmed } = storage
  const key = blobLinkKey(repository, digest)
  // A disk may have lost the record.
  if (!objects.isReliable || !confirmed.has(key)) return undefined
  return askAhead(storage, key, {
    next: async link => {
      const named = isConfirmed(confirmed, key, link) ? blobFrom(digest, link) : undefined
      return named !== undefined && (await hasBytes(storage, named)) ? named : undefined
    },
  })
}

/** The record of a blob that the repository has a link to, found to be needed from now on. */
async function holdRecord(
  storage: RegistryStorage,
  repository: RepositoryName,
  { named, isFound }: { readonly named: StoredBlob; readonly isFound: boolean },
): Promise<StoredBlob | undefined> {
  const { digest } = named
  const key = blobRecordKey(digest)
  const record = await rescue(storage, key)
  if (isFound || record === undefined || firstHolder(record) === repository) {
    return blobFrom(digest, record)
  }
  // Whoever made the link may have been killed before its hint.
  const hinted = await rescue(storage, holderKey(digest, repository))
  if (hinted === undefined) await hint(storage, repository, named)
  return blobFrom(digest, await rescue(storage, key))
}

export function unknownBlob(repository: RepositoryName, digest: Digest): ResourceError {
  return new ResourceError(
    'not-found blob',
    `Cannot find blob "${digest}" in repository "${repository}"`,
    { detail: { digest } },
  )
}

/** Throws `not-found` of the blob when its bytes were removed meanwhile. */
export async function openBlob(
  storage: RegistryStorage,
  blob: StoredBlob,
  range?: ObjectRange,
): Promise<ObjectBytes> {
  const wanted = { start: 0, end: blob.size, ...range, of: blob.size }
  try {
    return await storage.objects.open(blob.key, wanted)
  } catch (cause) {
    if (!hasCode(cause, 'not-found')) throw cause
    // A push to another repository may have replaced the bytes.
    const record = await readBlob(storage, blobRecordKey(blob.digest), blob.digest)
    if (record?.size === blob.size && record.key !== blob.key) {
      return openBlob(storage, record, wanted)
    }
    throw new ResourceError('not-found blob', `Cannot find the bytes of blob "${blob.digest}"`, {
      cause,
      detail: { digest: blob.digest },
    })
  }
}

/**
 * Makes bytes a blob of the repository. `complete` resolves when they are complete and verified, with
 * the blob that they are, mostly the one that is `expected`: what is written of it reaches the disk
 * meanwhile.
 */
export function commitBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  {
    expected,
    complete,
  }: { readonly expected: StoredBlob; readonly complete: () => Promise<StoredBlob> },
): Promise<StoredBlob> {
  return together(storage, async storage => {
    let linking = newLinking(storage, repository)
    storage.objects.prepare?.(encodeLinking(expected, linking))
    const blob = await complete()
    for (; ; linking = newLinking(storage, repository)) {
      const etag = await putLink(storage, blob, linking)
      const kept = await keepRecord(storage, blob, linking)
      if (kept.isFound) storage.confirmed.set(blobLinkKey(repository, blob.digest), etag)
      // Else the record was collected in between: ours takes its place.
      else if (!(await link(storage, kept, linking))) continue
      if (kept.key !== blob.key) await storage.objects.delete(blob.key)
      return blob
    }
  })
}

/**
 * Gives `repository` the blob, which some repository has: a mount. Returns `false` when the blob was
 * collected at the same time, and the repository does not have it.
 */
export function linkBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  blob: StoredBlob,
): Promise<boolean> {
  return together(storage, storage => link(storage, blob, newLinking(storage, repository)))
}

interface Linking {
  readonly repository: RepositoryName
  /** Milliseconds since 1970. */
  readonly linkedAt: number
  /** Makes every link another version. */
  readonly id: string
}

function newLinking(storage: RegistryStorage, repository: RepositoryName): Linking {
  return { repository, linkedAt: storage.now().getTime(), id: storage.newId() }
}

/** Whether there still is a record: then the repository has the blob. */
async function link(
  storage: RegistryStorage,
  { digest, size, key }: StoredBlob,
  linking: Linking,
): Promise<boolean> {
  const { repository } = linking
  let named: StoredBlob = { digest, size, key }
  for (;;) {
    const etag = await putLink(storage, named, linking)
    await hint(storage, repository, named)
    const record = blobFrom(digest, await rescue(storage, blobRecordKey(digest)))
    if (record?.key === named.key) {
      storage.confirmed.set(blobLinkKey(repository, digest), etag)
      return true
    }
    if (record === undefined) return false
    // The blob was collected and pushed again in between: its bytes are others now.
    named = record
  }
}

/** After the link: whoever has that is found by it. Its bytes mean nothing. */
async function hint(
  storage: RegistryStorage,
  repository: RepositoryName,
  blob: StoredBlob,
): Promise<void> {
  const key = holderKey(blob.digest, repository)
  await makeOrRescue(storage, key, encodeLinking(blob, newLinking(storage, repository)))
}

/**
 * Takes the blob from the repository; the bytes stay for others, and are collected when there are
 * none. Throws `not-found`.
 */
export async function unlinkBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<void> {
  const key = blobLinkKey(repository, digest)
  if ((await storage.objects.size(key)) === undefined) throw unknownBlob(repository, digest)
  await storage.objects.delete(key)
}

/** Repositories that have the blob: of each that may have it, it is checked. */
export async function* holdersOf(
  storage: RegistryStorage,
  digest: Digest,
): AsyncGenerator<RepositoryName> {
  const record = await storage.objects.get(blobRecordKey(digest))
  const first = record === undefined ? undefined : firstHolder(record)
  const prefix = holdersPrefix(digest)
  // A bound on one request's work; who holds the blob beyond it is not found by an anonymous mount.
  const keys = await storage.objects.list(prefix, { max: 100 })
  const hinted = keys.map(key => nameFromListed(key.slice(prefix.length)))
  for (const repository of new Set([...(first === undefined ? [] : [first]), ...hinted])) {
    if ((await findBlob(storage, repository, digest)) !== undefined) yield repository
  }
}

/** The same bytes for the record and the link: in a folder, one file with two names. */
function encodeLinking({ size, key }: StoredBlob, linking: Linking): Uint8Array {
  const { repository: holder, linkedAt, id } = linking
  return encodeRecord({ size, key, holder, linkedAt, id })
}

/** The repository whose push made the record. */
export function firstHolder({ bytes }: StoredObject): RepositoryName | undefined {
  const { holder } = decodeRecord(bytes) ?? {}
  return typeof holder === 'string' ? (holder as RepositoryName) : undefined
}

/** Writes the link unless it is there already, live and the same; returns its etag. */
async function putLink(
  storage: RegistryStorage,
  blob: StoredBlob,
  linking: Linking,
): Promise<string> {
  const key = blobLinkKey(linking.repository, blob.digest)
  const bytes = encodeLinking(blob, linking)
  const { etag, existing } = await makeOrRescue(storage, key, bytes)
  if (existing === undefined) {
    // Who pushes a blob, or another who waits for it, asks for it soon.
    storage.guesses?.set(key, { bytes, etag })
    return etag
  }
  const current = blobFrom(blob.digest, existing)
  const isSame = current?.key === blob.key && current.size === blob.size
  return isSame ? etag : storage.objects.put(key, bytes)
}

interface KeptRecord extends StoredBlob {
  /** Whether it was made here, after the link, and leads to that. */
  readonly isFound: boolean
}

/**
 * The record that stands for the digest from now on: the first writer's; unless its bytes are gone,
 * cut or rotten, and then ours, which were verified just now, replace them. Other repositories find
 * them by the record when their link's bytes are gone.
 */
async function keepRecord(
  storage: RegistryStorage,
  blob: StoredBlob,
  linking: Linking,
): Promise<KeptRecord> {
  const { objects } = storage
  const key = blobRecordKey(blob.digest)
  for (let isFirst = true; ; isFirst = false) {
    // At first as if there were none: mostly there is none, and the write itself says so.
    const object = isFirst ? undefined : await objects.get(key)
    const existing = blobFrom(blob.digest, object)
    if (existing?.size === blob.size && (await isSound(storage, existing))) {
      return { ...existing, isFound: false }
    }
    const repository = (object && firstHolder(object)) ?? linking.repository
    const bytes = encodeLinking(blob, { ...linking, repository })
    if (!(await swapRecord(storage, key, { bytes, etag: object?.etag }))) continue
    if (existing !== undefined && existing.key !== blob.key) await objects.delete(existing.key)
    return { ...blob, isFound: repository === linking.repository }
  }
}

/** Whether the record was still the version `etag`, or still absent, and is ours now. */
async function swapRecord(
  { objects }: RegistryStorage,
  key: string,
  { bytes, etag }: { readonly bytes: Uint8Array; readonly etag: string | undefined },
): Promise<boolean> {
  const condition =
    etag === undefined ? ({ kind: 'absent' } as const) : ({ kind: 'matches', etag } as const)
  try {
    await objects.put(key, bytes, { condition })
    return true
  } catch (error) {
    if (hasCode(error, 'conflict')) return false
    throw error
  }
}

async function isWhole(storage: RegistryStorage, blob: StoredBlob): Promise<boolean> {
  return storage.objects.isReliable || hasBytes(storage, blob)
}

async function hasBytes(storage: RegistryStorage, blob: StoredBlob): Promise<boolean> {
  return (await storage.objects.size(blob.key)) === blob.size
}

/** Whether the stored bytes still are what the digest says. Reads them all. */
export async function isSound(storage: RegistryStorage, blob: StoredBlob): Promise<boolean> {
  if (!(await hasBytes(storage, blob))) return false
  const algorithm = algorithmOf(blob.digest)
  const hash = createDigestHash(algorithm)
  try {
    for await (const chunk of await storage.objects.open(blob.key)) hash.update(chunk)
  } catch (error) {
    // Removed meanwhile, or a sector that cannot be read.
    if (hasCode(error, 'not-found') || hasCode(error, 'EIO')) return false
    throw error
  }
  return finishDigest(hash, algorithm) === blob.digest
}

/** What a link or a record says; `undefined` when there is none, or it is damaged. */
async function readBlob(
  storage: RegistryStorage,
  key: string,
  digest: Digest,
): Promise<StoredBlob | undefined> {
  return blobFrom(digest, await storage.objects.get(key))
}

export function blobFrom(digest: Digest, object: StoredObject | undefined): StoredBlob | undefined {
  const { size, key } = (object === undefined ? undefined : decodeRecord(object.bytes)) ?? {}
  if (typeof size !== 'number' || typeof key !== 'string') return undefined
  return { digest, size, key }
}
