/**
 * The ContentStore in memory: for tests, and for images that never touch a disk.
 */

import { algorithmOf, type Digest, finishDigest } from '../../oci/digest.ts'
import { type Algorithm, createDigestHash } from '../../oci/digest-hash.ts'
import { OciError } from '../../oci/errors.ts'
import {
  assertExpected,
  type BlobInfo,
  type ByteRange,
  type ContentStore,
  type Download,
  type Expected,
  type Ingest,
  maxDocumentSize,
} from './content-store.ts'

export function memoryStore(): ContentStore {
  return new MemoryStore()
}

class MemoryStore implements ContentStore {
  readonly #blobs = new Map<Digest, Uint8Array>()

  async find(digest: Digest): Promise<BlobInfo | undefined> {
    const bytes = this.#blobs.get(digest)
    return bytes === undefined ? undefined : { digest, size: bytes.length }
  }

  async *open(digest: Digest, range: ByteRange = { start: 0 }): AsyncGenerator<Uint8Array> {
    const bytes = this.#get(digest).subarray(range.start, range.end)
    if (bytes.length > 0) yield bytes
  }

  async read(digest: Digest, maxSize = maxDocumentSize): Promise<Uint8Array> {
    const bytes = this.#get(digest)
    if (bytes.length <= maxSize) return bytes
    throw new OciError(
      'too-large',
      `Cannot read blob ${digest} at once: it has ${bytes.length} bytes, more than ${maxSize}`,
    )
  }

  async ingest(algorithm: Algorithm = 'sha256'): Promise<Ingest> {
    const hash = createDigestHash(algorithm)
    const chunks: Uint8Array[] = []
    return {
      write: async chunk => {
        hash.update(chunk)
        chunks.push(Uint8Array.from(chunk))
      },
      commit: async (expected: Expected = {}) => {
        const bytes = Buffer.concat(chunks)
        const info = { digest: finishDigest(hash, algorithm), size: bytes.length }
        assertExpected(info, expected)
        this.#blobs.set(info.digest, bytes)
        return info
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  /** Nothing outlives a download here. */
  async download(blob: BlobInfo): Promise<Download | undefined> {
    if (this.#blobs.has(blob.digest)) return undefined
    const ingest = await this.ingest(algorithmOf(blob.digest))
    return {
      received: 0,
      write: chunk => ingest.write(chunk),
      commit: () => ingest.commit(blob),
      discard: async () => {},
      [Symbol.asyncDispose]: async () => {},
    }
  }

  /** There is no file: what needs one takes a directory store. */
  pathOf(digest: Digest): string {
    return `/nonexistent/${digest}`
  }

  async remove(digest: Digest): Promise<void> {
    this.#blobs.delete(digest)
  }

  async *list(): AsyncGenerator<BlobInfo> {
    for (const [digest, bytes] of this.#blobs) yield { digest, size: bytes.length }
  }

  #get(digest: Digest): Uint8Array {
    const bytes = this.#blobs.get(digest)
    if (bytes !== undefined) return bytes
    throw new OciError('not-found', `Cannot open blob ${digest}: not in the store`)
  }
}
