/** A file that a user names for a command to write: an archive, an image's ID. */
import { createWriteStream } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ignoreMissing, streamFileAtomic } from '../layerfs/content/atomic-file.ts'

/**
 * A regular file appears under its name only when its bytes are complete and on the disk; an older
 * one stands until then. What is something else (/dev/null, /dev/stdout, a FIFO, a link) is written to as it is:
 * a rename would put a file in its place.
 */
export async function writeOutputFile(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  const stop = signal === undefined ? {} : { signal }
  const existing = await lstat(path).catch(ignoreMissing)
  if (existing === undefined || existing.isFile()) {
    await streamFileAtomic(path, chunks, { mode: 0o666, durability: 'whole', ...stop })
  } else {
    await pipeline(Readable.from(chunks), createWriteStream(path), stop)
  }
}
