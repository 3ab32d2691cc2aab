/**
 * What this process knows of uploads beyond their session objects: who is writing right now, and
 * the hash of the bytes so far, which Node cannot store. Losing it costs one reading of the bytes.
 */
import type { Hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Algorithm } from '../../oci/digest.ts'

export interface RunningHash {
  readonly algorithm: Algorithm
  readonly hash: Hash
  /** Bytes it has seen. */
  size: number
}

export interface LiveUploads {
  readonly hashes: LRUCache<string, RunningHash>
  /** Uploads with a request under way in this process. */
  readonly busy: Set<string>
}

export function createLiveUploads(): LiveUploads {
  return { hashes: new LRUCache({ max: 10_000 }), busy: new Set() }
}
