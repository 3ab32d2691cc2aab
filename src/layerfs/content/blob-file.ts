/** Whether the file of a blob still holds its bytes: disks forget, and so do power failures. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { algorithmOf, finishDigest } from '../../oci/digest.ts'
import { createDigestHash } from '../../oci/digest-hash.ts'
import { ignoreMissing } from './atomic-file.ts'
import type { BlobInfo } from './content-store.ts'

/** Reads all of it. */
export async function isIntact(path: string, { digest, size }: BlobInfo): Promise<boolean> {
  const found = await stat(path).catch(ignoreMissing)
  if (found?.size !== size) return false
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
  return (await stat(path).catch(ignoreMissing))?.size === blob.size
}
