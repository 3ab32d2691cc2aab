/**
 * An unfinished object as a growing file under its final name: written once, never copied or moved.
 * Nothing refers to the name until the object is complete, so nobody reads half of it.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type FileLock, tryLock } from '../../../layerfs/content/file-lock.ts'
import { hasCode, OciError } from '../../../oci/errors.ts'
import type { Append, Checkpoint } from '../object-store.ts'
import { syncDirectory, withParent } from './durable-files.ts'

const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW

/**
 * The kernel's lock on `path`, which is made when missing; `undefined` while another process has it.
 * Without it two processes that write one object would write over each other's bytes.
 */
export async function claimFile(path: string): Promise<FileLock | undefined> {
  await withParent(path, async () => closeSync(openSync(path, flags, 0o644)))
  try {
    return tryLock(path, 'exclusive')
  } catch (error) {
    // Whoever had it gave the object up meanwhile.
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/**
 * Opens `path` for one turn, cut to `from`: what an interrupted turn left behind is dropped.
 * Throws `not-found` when bytes before `from` are missing: a power failure took them.
 */
export async function appendToFile(path: string, from: number): Promise<Append> {
  const file = await withParent(path, () => open(path, flags, 0o644))
  try {
    const { size } = await file.stat()
    if (size < from) {
      throw new OciError('not-found', `Cannot continue object: expected ${from} bytes, got ${size}`)
    }
    await file.truncate(from)
  } catch (error) {
    await file.close()
    throw error
  }
  return new FileAppend(path, file, from)
}

class FileAppend implements Append {
  readonly #path: string
  readonly #file: FileHandle
  readonly #start: number
  #size: number
  #ended = false

  constructor(path: string, file: FileHandle, start: number) {
    this.#path = path
    this.#file = file
    this.#start = start
    this.#size = start
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    let rest = [...chunks]
    while (rest.length > 0) {
      const { bytesWritten } = await this.#file.writev(rest, this.#size)
      this.#size += bytesWritten
      rest = after(rest, bytesWritten)
    }
  }

  async checkpoint(): Promise<Checkpoint> {
    this.#ended = true
    await this.#file.close()
    return { size: this.#size, token: '' }
  }

  async complete(): Promise<number> {
    this.#ended = true
    try {
      // At once: the name has been there since the first byte, and nobody is told of it yet.
      await Promise.all([this.#file.datasync(), syncDirectory(dirname(this.#path))])
      return this.#size
    } finally {
      await this.#file.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    try {
      await this.#file.truncate(this.#start)
    } finally {
      await this.#file.close()
    }
  }
}

/** What a short write (a disk nearly full, a signal) left unwritten. */
function after(chunks: readonly Uint8Array[], written: number): Uint8Array[] {
  let skip = written
  const rest: Uint8Array[] = []
  for (const chunk of chunks) {
    if (skip < chunk.length) rest.push(chunk.subarray(skip))
    skip = Math.max(0, skip - chunk.length)
  }
  return rest
}
