/**
 * Bytes of small blobs, kept in memory where the store is far: configs and small layers are most of what
 * is asked for, and a question costs more than they do.
 *
 * What a digest names never changes, and is verified before it is kept. Whether a repository has the
 * blob is asked of the store for each request: what another replica took from it is not served.
 */
import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'

export type SmallBlobs = LRUCache<Digest, Uint8Array>

const maxBytes = 32 * 1024 * 1024

/** A client that reads slowly keeps as much from being freed. */
const maxBlobSize = 1024 * 1024

/** What an entry takes beside its bytes, about. */
const entryBytes = 512

export function createSmallBlobs(): SmallBlobs {
  return new LRUCache({
    maxSize: maxBytes,
    sizeCalculation: ({ length }) => length + entryBytes,
  })
}

export function isSmall({ size }: { readonly size: number }): boolean {
  return size <= maxBlobSize
}
