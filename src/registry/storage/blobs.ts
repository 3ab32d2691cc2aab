/**
 * Blobs: bytes stored once for all repositories, and the links by which a repository has them.
 *
 * 1. A record or link exists only after its bytes are complete, verified and synced.
 * 2. A blob is read through a repository's link only: knowing a digest gives no access.
 * 3. Order of creation: bytes, record, hint, link. What a crash leaves is never reachable.
 */
import type { Digest } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { blobLinkKey, blobRecordKey, holderKey, holdersPrefix, nameFromListed } from './keys.ts'
import type { ObjectRange } from './object-store.ts'
import { encodeRecord, readRecord, type StoredRecord } from './records.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'

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
  const link = blobFrom(digest, await readRecord(storage.objects, blobLinkKey(repository, digest)))
  return link !== undefined && (await isWhole(storage, link)) ? link : undefined
}

/** As {@link findBlob}; throws `not-found` of the blob. */
export async function statBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<StoredBlob> {
  const blob = await findBlob(storage, repository, digest)
  if (blob !== undefined) return blob
  throw new ResourceError(
    'not-found blob',
    `Cannot find blob "${digest}" in repository "${repository}"`,
    { detail: { digest } },
  )
}

export function openBlob(
  storage: RegistryStorage,
  blob: StoredBlob,
  range?: ObjectRange,
): Promise<AsyncIterable<Uint8Array>> {
  return storage.objects.open(blob.key, range ?? { start: 0, end: blob.size })
}

/** Makes verified, complete bytes the blob `blob.digest` of the repository. */
export async function commitBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  blob: StoredBlob,
): Promise<void> {
  const kept = await keepRecord(storage, blob)
  await linkBlob(storage, repository, kept)
}

/** Gives `repository` the blob, which some repository has: a mount. */
export async function linkBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  blob: StoredBlob,
): Promise<void> {
  const { digest, size, key } = blob
  // The hint first: whoever has the link is found by it.
  await storage.objects.put(holderKey(digest, repository), new Uint8Array())
  await storage.objects.put(blobLinkKey(repository, digest), encodeRecord({ size, key }))
}

/** Takes the blob from the repository; the bytes stay for others. Throws `not-found`. */
export async function unlinkBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<void> {
  await statBlob(storage, repository, digest)
  await storage.objects.delete(blobLinkKey(repository, digest))
  await storage.objects.delete(holderKey(digest, repository))
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

/**
 * The record that stands for the digest from now on: the first writer's. Its bytes are the same, so
 * ours go; unless the first writer's bytes are gone, and then ours replace them.
 */
async function keepRecord(storage: RegistryStorage, blob: StoredBlob): Promise<StoredBlob> {
  const { objects } = storage
  const recordKey = blobRecordKey(blob.digest)
  const bytes = encodeRecord({ size: blob.size, key: blob.key })
  for (;;) {
    try {
      const stored = await readRecord(objects, recordKey)
      const existing = blobFrom(blob.digest, stored)
      if (existing !== undefined && (await isWhole(storage, existing))) {
        if (existing.key !== blob.key) await objects.delete(blob.key)
        return existing
      }
      const object = await objects.get(recordKey)
      await objects.put(recordKey, bytes, {
        condition:
          object === undefined ? { kind: 'absent' } : { kind: 'matches', etag: object.etag },
      })
      return blob
    } catch (error) {
      if (!hasCode(error, 'conflict')) throw error
    }
  }
}

async function isWhole(storage: RegistryStorage, blob: StoredBlob): Promise<boolean> {
  return (await storage.objects.size(blob.key)) === blob.size
}

function blobFrom(digest: Digest, record: StoredRecord | undefined): StoredBlob | undefined {
  const { size, key } = record?.value ?? {}
  if (typeof size !== 'number' || typeof key !== 'string') return undefined
  return { digest, size, key }
}
