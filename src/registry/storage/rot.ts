/**
 * Bytes that are not what their digest says any more: found by reading them, set aside, and replaced
 * when somebody pushes the blob again.
 */

import { algorithmOf, type Digest, finishDigest } from '../../oci/digest.ts'
import { createDigestHash } from '../../oci/digest-hash.ts'
import { OciError } from '../../oci/errors.ts'
import { blobFrom, isSound, type StoredBlob } from './blobs.ts'
import {
  blobRecordKey,
  catalogPrefix,
  digestFromSharded,
  nameFromListed,
  quarantineKey,
  recordsPrefix,
  repositoryPrefix,
} from './keys.ts'
import { listAll } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { findManifest } from './stored-manifest.ts'

export interface RotEvent {
  readonly kind: 'blob' | 'manifest'
  readonly digest: Digest
  readonly repository?: string
}

export interface ScrubOptions {
  /** Which part of the blobs to read, 0 to 1; manifests are all read. */
  readonly sample: number
  readonly onRot: (event: RotEvent) => void
  readonly signal?: AbortSignal
}

export interface ScrubReport {
  readonly blobs: number
  /** Bytes of blobs that were read. */
  readonly size: number
  readonly manifests: number
  readonly rotten: number
}

/** Reads what is stored. Rotten blobs are set aside, so that clients send them again. */
export async function scrub(storage: RegistryStorage, options: ScrubOptions): Promise<ScrubReport> {
  const report = { blobs: 0, size: 0, manifests: 0, rotten: 0 }
  const found = (event: RotEvent) => {
    report.rotten++
    options.onRot(event)
  }
  for await (const key of listAll(storage.objects, recordsPrefix)) {
    options.signal?.throwIfAborted()
    if (Math.random() >= options.sample) continue
    const digest = digestFromSharded(key)
    const blob = blobFrom(digest, await storage.objects.get(key))
    report.blobs++
    report.size += blob?.size ?? 0
    if (blob !== undefined && (await isSound(storage, blob))) continue
    if (await setAside(storage, digest, blob)) found({ kind: 'blob', digest })
  }
  for await (const { key, repository } of manifestKeys(storage)) {
    options.signal?.throwIfAborted()
    const digest = key.slice(key.lastIndexOf('/') + 1) as Digest
    report.manifests++
    if ((await findManifest(storage, repository, digest)) !== undefined) continue
    if ((await storage.objects.size(key)) === undefined) continue
    found({ kind: 'manifest', digest, repository })
  }
  return report
}

/** The bytes, the last of them only when all were right; throws `unavailable` when they were not. */
export async function* verified(
  storage: RegistryStorage,
  blob: StoredBlob,
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const algorithm = algorithmOf(blob.digest)
  const hash = createDigestHash(algorithm)
  let held: Uint8Array | undefined
  for await (const chunk of bytes) {
    if (held !== undefined) yield held
    hash.update(chunk)
    held = chunk
  }
  if (finishDigest(hash, algorithm) !== blob.digest) {
    await setAside(storage, blob.digest, blob)
    throw new OciError('unavailable', `Cannot send blob "${blob.digest}": its bytes are damaged`)
  }
  if (held !== undefined) yield held
}

/** Returns `false` when the blob was collected or replaced while it was read. */
async function setAside(
  storage: RegistryStorage,
  digest: Digest,
  blob: StoredBlob | undefined,
): Promise<boolean> {
  const { objects } = storage
  const record = await objects.get(blobRecordKey(digest))
  if (record === undefined) return false
  if (blob === undefined) return true
  if (blobFrom(digest, record)?.key !== blob.key) return false
  if ((await objects.size(blob.key)) === undefined) return true
  await using copy = await objects.append(quarantineKey(digest, storage.newId()))
  try {
    for await (const chunk of await objects.open(blob.key)) await copy.write([chunk])
  } catch {
    // What cannot be read cannot be kept.
  }
  await copy.complete()
  await objects.delete(blob.key)
  return true
}

async function* manifestKeys(storage: RegistryStorage) {
  for await (const listed of listAll(storage.objects, catalogPrefix)) {
    const repository = nameFromListed(listed.slice(catalogPrefix.length))
    const prefix = repositoryPrefix(repository, '_m')
    for await (const key of listAll(storage.objects, prefix)) yield { key, repository }
  }
}
