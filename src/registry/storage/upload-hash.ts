/** The digest of an upload: hashed as it comes, continued from what is known, or read once more. */

import { openAnyHash } from '../../layerfs/content/thread-hash.ts'
import { algorithmOf, type Digest, finishDigest } from '../../oci/digest.ts'
import { type Algorithm, createDigestHash } from '../../oci/digest-hash.ts'
import type { StoredBlob } from './blobs.ts'
import { batchSizeOf, type RunningHash } from './live-uploads.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResumableHash, type RunningDigest, restoreHash } from './resumable-hash.ts'
import type { SeenBytes, UploadSession } from './upload-session.ts'

export interface HashWish {
  readonly algorithm: Algorithm
  /** Whether another process should be able to go on with it. */
  readonly isResumable: boolean
}

/** The hash of what the session has, continued; or one that has seen too little and is not used. */
export function runningHash(
  storage: RegistryStorage,
  session: UploadSession,
  { algorithm, isResumable }: HashWish,
): RunningHash {
  const { size } = session.checkpoint
  const live = storage.uploads.hashes.get(session.id)
  storage.uploads.hashes.delete(session.id)
  if (live?.size === size) return live
  const { seen } = session
  if (seen?.state !== undefined && seen.size === size && algorithm === 'sha256') {
    const hash = restoreHash(seen.state)
    if (hash !== undefined) return { ...newHash(storage, algorithm, hash), size }
  }
  const isOurs = isResumable && algorithm === 'sha256'
  return newHash(storage, algorithm, isOurs ? new ResumableHash() : undefined)
}

export function newHash(
  { uploads }: RegistryStorage,
  algorithm: Algorithm,
  hash: RunningDigest = openAnyHash(algorithm),
): RunningHash {
  return { algorithm, hash, size: 0, batchSize: () => batchSizeOf(uploads, algorithm) }
}

/** What is stored of it; `undefined` when it has not seen exactly the first `size` bytes. */
export function seenBy(
  { algorithm, hash, size }: RunningHash,
  stored: number,
): SeenBytes | undefined {
  if (size !== stored) return undefined
  const digest = finishDigest(hash.copy(), algorithm)
  return { size, digest, ...(hash instanceof ResumableHash ? { state: hash.save() } : {}) }
}

interface Known {
  readonly hash: RunningHash
  readonly seen?: SeenBytes | undefined
}

/** By reading the bytes when no hash saw them all: of another algorithm than was said, or when they came to several processes. */
export async function digestOfStored(
  storage: RegistryStorage,
  blob: StoredBlob,
  { hash: running, seen }: Known,
): Promise<Digest> {
  const algorithm = algorithmOf(blob.digest)
  if (running.algorithm === algorithm && running.size === blob.size) {
    return finishDigest(running.hash, algorithm)
  }
  if (seen?.size === blob.size && algorithmOf(seen.digest) === algorithm) return seen.digest
  const hash = createDigestHash(algorithm)
  for await (const chunk of await storage.objects.open(blob.key)) hash.update(chunk)
  return finishDigest(hash, algorithm)
}
