/**
 * An unfinished object as a growing file under its final name: written once, never copied or moved.
 * Nothing refers to the name until the object is complete, so nobody reads half of it. A complete one
 * is read-only, for that is on the disk with its bytes: no turn cuts or removes what became a blob.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncate,
  lstatSync,
  openSync,
  type Stats,
  writev,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { type FileLock, tryLock } from '../../../layerfs/content/file-lock.ts'
import { hasCode, OciError } from '../../../oci/errors.ts'
import type { Arrived } from '../arriving-bytes.ts'
import { type Append, type Checkpoint, conditionFailed } from '../object-store.ts'
import { type NoteChange, syncAll, withParent } from './durable-files.ts'
import { isAbsence } from './file-reads.ts'

const writeChunks = promisify(writev)
const cut: (fd: number, size: number) => Promise<void> = promisify(ftruncate)

/** At the end: also what a thread writes, that knows no position (receive.ts). */
const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_APPEND
const writeBits = 0o222

/**
 * The kernel's lock on the file; `undefined` while another has it, and when there is none. Without it
 * two processes that write one object would write over each other's bytes.
 */
export function claimFile(path: string): FileLock | undefined {
  try {
    return tryLock(path, 'exclusive')
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

/** Whether there is a file, and a turn completed it. */
export function isCompleteFile(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat !== undefined && isComplete(stat)
}

function isComplete({ mode }: Stats): boolean {
  return (mode & writeBits) === 0
}

/**
 * Opens `path` for one turn, cut to `from`: what an interrupted turn left behind is dropped.
 * Throws `not-found` when bytes before `from` are missing: a power failure took them; and `conflict`
 * when it is complete.
 */
export async function appendToFile(
  path: string,
  { from, sync }: { readonly from: number; readonly sync: NoteChange },
): Promise<Append> {
  const file = await withParent(path, () => openToWrite(path))
  try {
    const stat = fstatSync(file)
    // Root may write to it all the same.
    if (isComplete(stat)) throw conditionFailed(path)
    const { size } = stat
    if (size < from) {
      throw new OciError('not-found', `Cannot continue object: expected ${from} bytes, got ${size}`)
    }
    if (size > from) await cut(file, from)
  } catch (error) {
    closeSync(file)
    throw error
  }
  return new FileAppend(file, { from, sync: () => sync(dirname(path)) })
}

function openToWrite(path: string): number {
  try {
    return openSync(path, flags, 0o644)
  } catch (error) {
    throw hasCode(error, 'EACCES') && isCompleteFile(path) ? conditionFailed(path) : error
  }
}

class FileAppend implements Append {
  readonly #file: number
  readonly #start: number
  readonly #syncName: () => Promise<void>
  #size: number
  #ended = false

  constructor(
    file: number,
    { from, sync }: { readonly from: number; readonly sync: () => Promise<void> },
  ) {
    this.#file = file
    this.#start = from
    this.#size = from
    this.#syncName = sync
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    let rest = [...chunks]
    while (rest.length > 0) {
      const { bytesWritten } = await writeChunks(this.#file, rest)
      this.#size += bytesWritten
      rest = after(rest, bytesWritten)
    }
  }

  async receive(receive: (file: number) => Promise<Arrived>): Promise<Arrived> {
    const arrived = await receive(this.#file)
    this.#size += arrived.received
    return arrived
  }

  async checkpoint(): Promise<Checkpoint> {
    this.#end()
    return { size: this.#size, token: '' }
  }

  async complete(): Promise<number> {
    try {
      fchmodSync(this.#file, fstatSync(this.#file).mode & ~writeBits)
      // At once: the name has been there since the first byte, and nobody is told of it yet.
      const synced = await Promise.allSettled([syncAll(this.#file), this.#syncName()])
      for (const each of synced) if (each.status === 'rejected') throw each.reason
      return this.#size
    } finally {
      this.#end()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    try {
      await cut(this.#file, this.#start)
    } finally {
      this.#end()
    }
  }

  /** Once: the number may be another file's afterwards. */
  #end(): void {
    if (!this.#ended) closeSync(this.#file)
    this.#ended = true
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
