/**
 * What files take on the disk: blocks, not sizes; a file with several names once.
 */
import { hasCode } from '../../oci/errors.ts'
import { atCwd, type FileStat, type Name, syscalls } from '../native/syscalls.ts'
import { Descent, MovedError } from './descent.ts'

export interface DiskUse {
  readonly bytes: number
  /** Directories included. */
  readonly files: number
}

const blockSize = 512
const typeMask = 0o170000
const directoryType = 0o040000

interface Total {
  bytes: number
  files: number
}

/** Adds up what it is shown. What disappears meanwhile takes nothing. */
export class DiskMeter {
  readonly #seen = new Set<string>()

  /** `path`, with all below it if it is a directory, less what was measured before. */
  measure(path: string): DiskUse {
    const total = { bytes: 0, files: 0 }
    using descent = new Descent()
    try {
      if (this.#add(atCwd, path, total)) descent.enter(path, atCwd)
      else return total
      this.#addBelow(descent, total)
    } catch (error) {
      if (!(error instanceof MovedError)) ignoreGone(error)
    }
    return total
  }

  /** `path` alone. */
  measureOne(path: string): DiskUse {
    const stat = findAt(atCwd, path)
    return stat === undefined
      ? { bytes: 0, files: 0 }
      : { bytes: stat.blocks * blockSize, files: 1 }
  }

  #addBelow(descent: Descent, total: Total): void {
    for (;;) {
      const name = descent.nextName()
      if (name === undefined) {
        if (descent.leave() === undefined) return
      } else if (this.#add(descent.fd, name, total)) enterIfThere(descent, name)
    }
  }

  /** Whether it is a directory. */
  #add(dirFd: number, name: Name, total: Total): boolean {
    const stat = findAt(dirFd, name)
    if (stat === undefined || this.#isKnown(stat)) return false
    total.bytes += stat.blocks * blockSize
    total.files += 1
    return (stat.mode & typeMask) === directoryType
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

function enterIfThere(descent: Descent, name: Name): void {
  try {
    descent.enter(name)
  } catch (error) {
    ignoreGone(error)
  }
}

function ignoreGone(error: unknown): undefined {
  if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENOTDIR')) throw error
}
