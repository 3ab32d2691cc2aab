/**
 * Bytes from a socket into an object: gathered into large writes, hashed by another thread while the disk works.
 *
 * At most two batches are held, so a slow disk slows the client down instead of filling memory.
 */
import { ThreadHash } from '../../layerfs/content/thread-hash.ts'
import type { ArrivingBytes, TakenBytes } from './arriving-bytes.ts'
import type { RunningHash } from './live-uploads.ts'
import type { Append } from './object-store.ts'
import type { RunningDigest } from './resumable-hash.ts'

type Receiver = Pick<Append, 'write' | 'receive'>

/**
 * Appends everything and returns its length. On failure what was written before stays in `append`,
 * and `hash` has seen exactly the bytes that were written, or is made useless (`size` -1).
 */
export async function writeHashed(
  append: Receiver,
  bytes: ArrivingBytes,
  hash: RunningHash,
): Promise<number> {
  if (canReceive(append) && hash.hash instanceof ThreadHash) {
    using taken = bytes.take?.()
    const { handle } = hash.hash
    if (taken !== undefined) return await receiveHashed(taken, hash, { append, handle })
  }
  const start = hash.size
  let size = 0
  let taking: Promise<void> = Promise.resolve()
  try {
    for await (const batch of batches(bytes, hash.batchSize)) {
      await taking
      taking = take(append, batch, hash.hash)
      // Awaited below or in the next turn; until then a failure is not unhandled.
      taking.catch(() => {})
      for (const chunk of batch) size += chunk.length
    }
  } finally {
    hash.size = -1
    await taking
    hash.size = start + size
  }
  return size
}

function canReceive(append: Receiver): append is Required<Receiver> {
  return append.receive !== undefined
}

/** A thread takes, writes and hashes all but the first of them. */
async function receiveHashed(
  { first, receive }: TakenBytes,
  hash: RunningHash,
  {
    append,
    handle,
  }: { readonly append: Required<Receiver>; readonly handle: ThreadHash['handle'] },
): Promise<number> {
  const start = hash.size
  hash.size = -1
  await take(append, [first], hash.hash)
  const { received, failure, isHashed } = await append.receive(file =>
    receive({ file, hash: handle }),
  )
  const size = first.length + received
  if (isHashed) hash.size = start + size
  if (failure !== undefined) throw failure
  return size
}

/** Hashed in less time than a thread takes to wake. */
const smallBatch = 64 * 1024

async function take(
  append: Pick<Append, 'write'>,
  batch: readonly Uint8Array[],
  hash: RunningDigest,
): Promise<void> {
  const writing = append.write(batch)
  const isSmall = batch.reduce((sum, { length }) => sum + length, 0) <= smallBatch
  if (hash.updateByThread === undefined || isSmall) {
    for (const chunk of batch) hash.update(chunk)
    return await writing
  }
  // Of both the end is waited for: neither a failed write nor a hash may still have the bytes.
  const ends = await Promise.allSettled([writing, hash.updateByThread(batch)])
  for (const end of ends) if (end.status === 'rejected') throw end.reason
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
