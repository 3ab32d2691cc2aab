/**
 * Blobs: bytes stored once for all repositories, and the links by which a repository has them.
 *
 * 1. A record or link exists only after its bytes are complete, verified and synced.
 * 2. A blob is read through a repository's link only: knowing a digest gives no access.
 * 3. Order of creation: bytes, record and hint, link. What a crash leaves is never reachable.
 * 4. A link needs its hint, and through it its record: whoever makes a link, or promises that it is
 *    there, reads them afterwards and rescues them (condemn.ts).
 */

import { algorithmOf, type Digest, finishDigest } from '../../oci/digest.ts'
import { createDigestHash } from '../../oci/digest-hash.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { askAhead } from './ask-ahead.ts'
import { atOnce } from './at-once.ts'
import { makeOrRescue, rescue } from './condemn.ts'
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

/** A blob that the repository has, opened. Throws as {@link openBlob}. */
export async function findAndOpenBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<{ readonly blob: StoredBlob; readonly bytes: ObjectBytes } | undefined> {
  if (storage.guesses === undefined) {
    const blob = await findBlob(storage, repository, digest)
    return blob && { blob, bytes: await openBlob(storage, blob) }
  }
  return askAhead(storage, blobLinkKey(repository, digest), {
    next: async link => {
      const blob = blobFrom(digest, link)
      return blob && { blob, bytes: await openBlob(storage, blob) }
    },
    drop: async ({ bytes }) => {
      for await (const _ of bytes) break
    },
  })
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
  const link = await rescue(storage, blobLinkKey(repository, digest), seen)
  if (blobFrom(digest, link) === undefined) return undefined
  const record = blobFrom(digest, await rescue(storage, blobRecordKey(digest)))
  if (record === undefined) return undefined
  // Who asks whether to send the blob hears the truth of the bytes; who has sent it knows of them.
  const isTrusted = seen !== undefined && storage.objects.isReliable
  return isTrusted || (await hasBytes(storage, record)) ? record : undefined
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
    const linkedAt = storage.now().getTime()
    storage.objects.prepare?.(encodeLinking({ blob: expected, linkedAt }))
    const blob = await complete()
    for (;;) {
      const [kept] = await atOnce(
        storage,
        () => keepRecord(storage, { blob, linkedAt }),
        () => hint(storage, repository, { blob, linkedAt }),
      )
      // Else the record was collected in between: ours takes its place.
      if (!(await link(storage, repository, { blob: kept, linkedAt }))) continue
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
  const linking = { blob, linkedAt: storage.now().getTime() }
  return together(storage, async storage => {
    await hint(storage, repository, linking)
    return link(storage, repository, linking)
  })
}

interface Linking {
  readonly blob: StoredBlob
  /** Milliseconds since 1970. */
  readonly linkedAt: number
}

/** Before the link: whoever has that is found by it. Its bytes mean nothing. */
async function hint(
  storage: RegistryStorage,
  repository: RepositoryName,
  linking: Linking,
): Promise<void> {
  const key = holderKey(linking.blob.digest, repository)
  await makeOrRescue(storage, key, encodeLinking(linking))
}

/** After the {@link hint}; whether there still is a record. */
async function link(
  storage: RegistryStorage,
  repository: RepositoryName,
  { blob, linkedAt }: Linking,
): Promise<boolean> {
  let named = blob
  for (;;) {
    const linking = { blob: named, linkedAt }
    await putLink(storage, blobLinkKey(repository, blob.digest), linking)
    const hinted = await rescue(storage, holderKey(blob.digest, repository))
    if (hinted === undefined) {
      await hint(storage, repository, linking)
      continue
    }
    const record = blobFrom(blob.digest, await rescue(storage, blobRecordKey(blob.digest)))
    if (record === undefined || record.key === named.key) return record !== undefined
    // The blob was collected and pushed again in between: its bytes are others now.
    named = record
  }
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

/** Repositories that have the blob, the hints checked. */
export async function* holdersOf(
  storage: RegistryStorage,
  digest: Digest,
): AsyncGenerator<RepositoryName> {
  const prefix = holdersPrefix(digest)
  // A bound on one request's work; who holds the blob beyond it is not found by an anonymous mount.
  for (const key of await storage.objects.list(prefix, { max: 100 })) {
    const repository = nameFromListed(key.slice(prefix.length))
    if ((await findBlob(storage, repository, digest)) !== undefined) yield repository
  }
}

/** The same bytes for the record, its hint and the link: in a folder, one file with three names. */
function encodeLinking({ blob, linkedAt }: Linking): Uint8Array {
  return encodeRecord({ size: blob.size, key: blob.key, linkedAt })
}

/** Writes the link unless it is there already, live and the same. */
async function putLink(storage: RegistryStorage, key: string, linking: Linking): Promise<void> {
  const { blob } = linking
  const link = encodeLinking(linking)
  const existing = await makeOrRescue(storage, key, link)
  if (existing === undefined) return
  const current = blobFrom(blob.digest, existing)
  if (current?.key === blob.key && current.size === blob.size) return
  await storage.objects.put(key, link)
}

/**
 * The record that stands for the digest from now on: the first writer's; unless its bytes are gone,
 * cut or rotten, and then ours, which were verified just now, replace them. Other repositories find
 * them by the record when their link's bytes are gone.
 */
async function keepRecord(storage: RegistryStorage, linking: Linking): Promise<StoredBlob> {
  const { objects } = storage
  const { blob } = linking
  const key = blobRecordKey(blob.digest)
  const bytes = encodeLinking(linking)
  for (let isFirst = true; ; isFirst = false) {
    // At first as if there were none: mostly there is none, and the write itself says so.
    const object = isFirst ? undefined : await objects.get(key)
    const existing = blobFrom(blob.digest, object)
    if (existing?.size === blob.size && (await isSound(storage, existing))) return existing
    if (!(await swapRecord(storage, key, { bytes, etag: object?.etag }))) continue
    if (existing !== undefined && existing.key !== blob.key) await objects.delete(existing.key)
    return blob
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
