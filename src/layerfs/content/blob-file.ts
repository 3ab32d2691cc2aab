/** Whether the file of a blob still holds its bytes: disks forget, and so do power failures. */
import { createReadStream } from 'node:fs'
import { algorithmOf, finishDigest } from '../../oci/digest.ts'
import { createDigestHash } from '../../oci/digest-hash.ts'
import type { BlobInfo } from './content-store.ts'
import { ownFileSize } from './own-files.ts'

/** Reads all of it. */
export async function isIntact(path: string, { digest, size }: BlobInfo): Promise<boolean> {
  if (ownFileSize(path) !== size) return false
  const hash = createDigestHash(algorithmOf(digest))
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  } catch {
    // Gone, or on a bad sector.
    return false
  }
  return finishDigest(hash, algorithmOf(digest)) === digest
}

const documentSize = 1 << 20

/** As {@link isIntact} of what is small; of a layer the size alone: unpacking it reads it anyway. */
export async function seemsIntact(path: string, blob: BlobInfo): Promise<boolean> {
  if (blob.size <= documentSize) return await isIntact(path, blob)
  return ownFileSize(path) === blob.size
}
