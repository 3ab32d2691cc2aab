/** The blobs of an OCI layout that lies open in a directory. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { ignoreMissing } from '../content/atomic-file.ts'
import { type BlobReader, type ByteRange, maxDocumentSize } from '../content/content-store.ts'
import { openRegularFile } from '../content/regular-file.ts'
import { verified } from '../content/verified.ts'
import { blobPath } from './archive-layout.ts'

/** Throws `not-found` as every reader, and `digest-mismatch` for a file that has other bytes. */
export function layoutReader(directory: string): BlobReader {
  const pathOf = (digest: Digest) => join(directory, blobPath(digest))
  const cannotRead = (digest: Digest) => `Cannot read blob ${digest} in "${printable(directory)}"`
  const find = async (digest: Digest) => {
    const file = await stat(pathOf(digest)).catch(ignoreMissing)
    return file?.isFile() === true ? { digest, size: file.size } : undefined
  }
  async function* open(digest: Digest, range?: ByteRange): AsyncGenerator<Uint8Array> {
    const blob = await find(digest)
    if (blob === undefined) throw new OciError('not-found', `${cannotRead(digest)}: no such blob`)
    const file = await openRegularFile(pathOf(digest))
    if (range === undefined) {
      yield* verified(file.createReadStream(), blob, cannotRead(digest))
      return
    }
    const { start, end = blob.size } = range
    if (start < end) yield* file.createReadStream({ start, end: end - 1 })
  }
  return {
    find,
    open,
    async read(digest, maxSize = maxDocumentSize) {
      if (((await find(digest))?.size ?? 0) > maxSize) {
        throw new OciError('too-large', `${cannotRead(digest)}: more than ${maxSize} bytes`)
      }
      const chunks: Uint8Array[] = []
      for await (const chunk of open(digest)) chunks.push(chunk)
      return Buffer.concat(chunks)
    },
  }
}
