/**
 * What this process knows of uploads beyond their session objects: who is writing right now, and
 * the hash of the bytes so far, which Node cannot store. Losing it costs at most one reading of the
 * bytes (resumable-hash.ts).
 */
import { LRUCache } from 'lru-cache'
import type { Algorithm } from '../../oci/digest-hash.ts'
import type { RunningDigest } from './resumable-hash.ts'

export interface RunningHash {
  readonly algorithm: Algorithm
  readonly hash: RunningDigest
  /** Bytes it has seen. */
  size: number
  /** How many bytes its upload may gather before they are written: less when there are many. */
  readonly batchSize: () => number
}

export interface LiveUploads {
  readonly hashes: LRUCache<string, RunningHash>
  /** Uploads with a request under way in this process. */
  readonly busy: Set<string>
}

const gathered = { all: 32 * 1024 * 1024, least: 64 * 1024, most: 1024 * 1024 }

/**
 * An upload's share of the memory that all of them may use together. Of what is hashed slowly little:
 * between batches others have their turn.
 */
export function batchSizeOf({ busy }: LiveUploads, algorithm: Algorithm): number {
  if (algorithm === 'blake3') return gathered.least
  const share = gathered.all / Math.max(1, busy.size)
  return Math.min(gathered.most, Math.max(gathered.least, share))
}

export function createLiveUploads(): LiveUploads {
  return { hashes: new LRUCache({ max: 10_000 }), busy: new Set() }
}
