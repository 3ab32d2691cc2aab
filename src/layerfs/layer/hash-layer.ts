/** The diff ID of a layer, without keeping the program's own thread from anything else. */
import { type DiffRequest, type HashedDiff, hashDiffUpTo } from './diff.ts'
import { openUnpackPool } from './unpack-pool.ts'

/** Hashed in the time that a thread takes to start. */
const smallTar = 16 * 1024 * 1024

/** Throws as `diffLayer` does, and the signal's reason. */
export async function hashLayer(request: DiffRequest, signal: AbortSignal): Promise<HashedDiff> {
  const small = await hashDiffUpTo(request, { limit: smallTar })
  signal.throwIfAborted()
  if (small !== undefined) return small
  await using pool = openUnpackPool(1)
  return await pool.hash(request, signal)
}
