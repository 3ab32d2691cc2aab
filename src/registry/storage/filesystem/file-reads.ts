/**
 * Small reads in as few calls, and as few threads, as there can be.
 *
 * A file that this process read or wrote lately is in the kernel's memory: it is read at once, for a
 * thread takes several times as long to wake as the calls take (measured). Any other may have to come
 * from the disk, and a thread waits for it.
 */
import {
  type BigIntStats,
  close,
  closeSync,
  constants,
  fstatSync,
  lstat,
  lstatSync,
  open,
  openSync,
  read,
  readSync,
} from 'node:fs'
import { promisify } from 'node:util'
import { LRUCache } from 'lru-cache'
import { hasCode } from '../../../oci/errors.ts'
import type { ReadableFile } from './file-bytes.ts'

const openByThread = promisify(open)
const closeByThread = promisify(close)
const readByThread = promisify(read)
const lstatByThread = promisify(lstat)

export interface OpenFile {
  /** Whoever has it closes it. */
  readonly fd: number
  readonly stat: BigIntStats
  readonly isWarm: boolean
}

/** The kernel forgets no sooner, on a machine that is not out of memory. */
const remembered = 20_000

const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

export class FileReads {
  readonly #warm = new LRUCache<string, true>({ max: remembered })

  /** The file at the path was read or written just now. */
  touched(path: string): void {
    this.#warm.set(path, true)
  }

  /** `undefined` when there is none, or none that is a plain file. */
  async open(path: string): Promise<OpenFile | undefined> {
    const isWarm = this.#warm.has(path)
    let fd: number
    try {
      fd = isWarm ? openSync(path, flags) : await openByThread(path, flags)
    } catch (error) {
      if (isAbsence(error) || hasCode(error, 'ELOOP')) return undefined
      throw error
    }
    try {
      const stat = fstatSync(fd, { bigint: true })
      this.touched(path)
      if (stat.isFile()) return { fd, stat, isWarm }
    } catch (error) {
      closeSync(fd)
      throw error
    }
    closeSync(fd)
    return undefined
  }

  /** Bytes of the plain file; `undefined` when there is none. */
  async size(path: string): Promise<number | undefined> {
    try {
      const stat = this.#warm.has(path) ? lstatSync(path) : await lstatByThread(path)
      this.touched(path)
      return stat.isFile() ? stat.size : undefined
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw error
    }
  }
}

/** For what is read in pieces: each waits for the disk in a thread. */
export function asReadable({ fd }: OpenFile): ReadableFile {
  return {
    fd,
    read: (...where) => readByThread(fd, ...where),
    close: () => closeByThread(fd),
  }
}

/** From `start` to `end`, or to the end of the file. Closes it. */
export async function readPiece(
  { fd, isWarm }: OpenFile,
  { start, end }: { readonly start: number; readonly end: number },
): Promise<Uint8Array> {
  try {
    const bytes = Buffer.allocUnsafe(Math.max(0, end - start))
    let filled = 0
    while (filled < bytes.length) {
      const left = bytes.length - filled
      const count = isWarm
        ? readSync(fd, bytes, filled, left, start + filled)
        : (await readByThread(fd, bytes, filled, left, start + filled)).bytesRead
      if (count === 0) break
      filled += count
    }
    return bytes.subarray(0, filled)
  } finally {
    if (isWarm) closeSync(fd)
    else await closeByThread(fd)
  }
}

/** `ENOTDIR`: a parent is a file, so there is no such key. `ENAMETOOLONG`: nor can there be. */
export function isAbsence(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'ENAMETOOLONG')
}
