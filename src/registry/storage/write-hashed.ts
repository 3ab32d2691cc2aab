/**
 * Bytes from a socket into an object: gathered into large writes, hashed while the disk works.
 *
 * At most two batches are held, so a slow disk slows the client down instead of filling memory.
 */
import type { RunningHash } from './live-uploads.ts'
import type { Append } from './object-store.ts'

/**
 * Appends everything and returns its length. On failure what was written before stays in `append`,
 * and `hash` has seen exactly the bytes that were written, or is made useless (`size` -1).
 */
export async function writeHashed(
  append: Pick<Append, 'write'>,
  bytes: AsyncIterable<Uint8Array>,
  hash: RunningHash,
): Promise<number> {
  const start = hash.size
  let size = 0
  let writing: Promise<void> = Promise.resolve()
  try {
    for await (const batch of batches(bytes, hash.batchSize)) {
      await writing
      writing = append.write(batch)
      // Awaited below or in the next turn; until then a failure is not unhandled.
      writing.catch(() => {})
      for (const chunk of batch) {
        hash.hash.update(chunk)
        size += chunk.length
      }
    }
  } finally {
    hash.size = -1
    await writing
    hash.size = start + size
  }
  return size
}

/** Ends with what had come when the source fails, and then fails as it did. */
async function* batches(
  bytes: AsyncIterable<Uint8Array>,
  batchSize: () => number,
): AsyncGenerator<Uint8Array[]> {
  let batch: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of bytes) {
      batch.push(chunk)
      size += chunk.length
      if (size < batchSize()) continue
      yield batch
      batch = []
      size = 0
    }
  } catch (error) {
    if (batch.length > 0) yield batch
    throw error
  }
  if (batch.length > 0) yield batch
}
