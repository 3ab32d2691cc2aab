/** All bytes of a blob, as most who ask for one want them. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { askAhead } from './ask-ahead.ts'
import { blobFrom, findBlob, openBlob, type StoredBlob } from './blobs.ts'
import { blobLinkKey } from './keys.ts'
import type { ObjectBytes } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { verified } from './rot.ts'
import { isSmall } from './small-blobs.ts'

/** In memory where they are few. */
export type BlobBytes = ObjectBytes | Uint8Array

export interface PulledBlob {
  readonly blob: StoredBlob
  readonly bytes: BlobBytes
}

/** `undefined` when the repository has no such blob. Throws as {@link openBlob}. */
export async function pullBlob(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<PulledBlob | undefined> {
  const pull = async (blob: StoredBlob | undefined) =>
    blob && { blob, bytes: await bytesOf(storage, blob) }
  if (storage.guesses === undefined) return pull(await findBlob(storage, repository, digest))
  return askAhead(storage, blobLinkKey(repository, digest), {
    next: link => pull(blobFrom(digest, link)),
    drop: async ({ bytes }) => {
      if (bytes instanceof Uint8Array) return
      for await (const _ of bytes) break
    },
  })
}

/** Throws as {@link openBlob}, and `unavailable` when the bytes are damaged. */
export async function bytesOf(storage: RegistryStorage, blob: StoredBlob): Promise<BlobBytes> {
  const { smallBlobs, policy } = storage
  const kept = smallBlobs?.get(blob.digest)
  if (kept?.length === blob.size) return kept
  const keeping = isSmall(blob) ? smallBlobs : undefined
  const opened = await openBlob(storage, blob)
  const isChecked = keeping !== undefined || Math.random() < policy.verifyReads
  const bytes = isChecked ? verified(storage, blob, opened) : opened
  if (keeping === undefined) return blob.size <= heldSize ? together(bytes) : bytes
  // Memory of its own: what is small comes in a piece of something larger.
  const read = new Uint8Array(await together(bytes))
  keeping.set(blob.digest, read)
  return read
}

/** As much as a stream would hold of a larger one. */
const heldSize = 512 * 1024

async function together(bytes: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytes) chunks.push(chunk)
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}
