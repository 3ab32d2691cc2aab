/** A file that a user names for a command to write: an archive, an image's ID. */
import { createWriteStream, existsSync, statSync } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ignoreMissing, streamFileAtomic } from '../layerfs/content/atomic-file.ts'
import { OciError, printable } from '../oci/errors.ts'
import { isSystemError, systemReason } from '../oci/system-error.ts'

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
  assertWritable(path)
  const stop = signal === undefined ? {} : { signal }
  const existing = await lstat(path).catch(ignoreMissing)
  try {
    if (existing === undefined || existing.isFile()) {
      await streamFileAtomic(path, chunks, { mode: 0o666, durability: 'whole', ...stop })
    } else {
      await pipeline(Readable.from(chunks), createWriteStream(path), stop)
    }
  } catch (cause) {
    throw isSystemError(cause) ? cannotWrite(path, systemReason(cause), cause) : cause
  }
}

/**
 * Throws `invalid` where no such file can be: a directory has the name, or there is none to put it
 * in. For who works long before there is something to write.
 */
export function assertWritable(path: string): void {
  const directory = dirname(path)
  if (isDirectory(path)) throw cannotWrite(path, 'it is a directory')
  if (!isDirectory(directory)) {
    throw cannotWrite(path, `there is no directory "${printable(directory)}"`)
  }
}

/** Throws `invalid` where something else than a directory has the name. */
export function assertDirectory(path: string): void {
  if (existsSync(path) && !isDirectory(path)) {
    throw cannotWrite(path, 'it is no directory')
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}

function cannotWrite(path: string, reason: string, cause?: unknown): OciError {
  return new OciError('invalid', `Cannot write "${printable(path, 1000)}": ${reason}`, { cause })
}
