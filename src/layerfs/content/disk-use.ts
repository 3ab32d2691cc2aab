/**
 * What files take on the disk: blocks, not sizes; a file with several names once.
 */
import { closeSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { atCwd, type FileStat, type Name, syscalls } from '../native/syscalls.ts'

export interface DiskUse {
  readonly bytes: number
  /** Directories included. */
  readonly files: number
}

const blockSize = 512
const typeMask = 0o170000
const directoryType = 0o040000
/** O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC: nothing but a directory is ever opened. */
const listing = 0o200000 | 0o400000 | 0o2000000

/** Adds up what it is shown. What disappears meanwhile takes nothing. */
export class DiskMeter {
  readonly #seen = new Set<string>()

  /** `path`, with all below it if it is a directory, less what was measured before. */
  measure(path: string): DiskUse {
    const total = { bytes: 0, files: 0 }
    this.#add(atCwd, path, total)
    return total
  }

  /** `path` alone. */
  measureOne(path: string): DiskUse {
    const stat = findAt(atCwd, path)
    return stat === undefined
      ? { bytes: 0, files: 0 }
      : { bytes: stat.blocks * blockSize, files: 1 }
  }

  #add(dirFd: number, name: Name, total: { bytes: number; files: number }): void {
    const stat = findAt(dirFd, name)
    if (stat === undefined || this.#isKnown(stat)) return
    total.bytes += stat.blocks * blockSize
    total.files += 1
    if ((stat.mode & typeMask) !== directoryType) return
    const fd = openIfThere(dirFd, name)
    if (fd === undefined) return
    try {
      for (const entry of syscalls().readdir(fd)) this.#add(fd, entry.name, total)
    } finally {
      closeSync(fd)
    }
  }

  #isKnown(stat: FileStat): boolean {
    if (stat.links < 2 || (stat.mode & typeMask) === directoryType) return false
    const key = `${stat.devMajor}:${stat.devMinor}:${stat.ino}`
    if (this.#seen.has(key)) return true
    this.#seen.add(key)
    return false
  }
}

function findAt(dirFd: number, name: Name): FileStat | undefined {
  try {
    return syscalls().statx(dirFd, name)
  } catch (error) {
    return ignoreGone(error)
  }
}

function openIfThere(dirFd: number, name: Name): number | undefined {
  try {
    return syscalls().openat2(dirFd, name, [listing, 0, 0])
  } catch (error) {
    return ignoreGone(error)
  }
}

function ignoreGone(error: unknown): undefined {
  if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENOTDIR')) throw error
}
