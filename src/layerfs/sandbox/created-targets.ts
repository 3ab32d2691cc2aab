/**
 * Takes mount targets that were made for a run back out of the writable layer (rows R15, R17).
 */
import { closeSync, constants } from 'node:fs'
import { posix } from 'node:path'
import { hasCode } from '../../oci/errors.ts'
import { atCwd, openFlags, resolve, syscalls, type Timestamp } from '../native/syscalls.ts'
import type { CreatedTarget } from './records.ts'

/**
 * Removes each target that is still empty from `upper`, newest first, and gives its directory the
 * modification time back that it had before, or that the program gave it since. The program may
 * have put anything in the way: nothing outside `upper` is touched.
 */
export function removeCreated(upper: string, created: readonly CreatedTarget[]): void {
  for (const target of [...created].reverse()) {
    const parent = openDirectory(upper, posix.dirname(target.path))
    if (parent === undefined) continue
    try {
      removeFrom(parent, target)
    } finally {
      closeSync(parent)
    }
  }
}

function removeFrom(parent: number, target: CreatedTarget): void {
  const { mtime } = syscalls().statx(parent, '')
  if (!removeEmpty(parent, posix.basename(target.path), target.type)) return
  const untouched = nanosecondsOf(mtime) === target.after
  syscalls().utimensat(parent, '', untouched ? timestampOf(target.before) : mtime)
}

function removeEmpty(parent: number, name: string, type: CreatedTarget['type']): boolean {
  try {
    if (type === 'file' && !isEmptyFile(parent, name)) return false
    syscalls().unlinkat(parent, name, type === 'directory' ? removeDirectory : 0)
    return true
  } catch (error) {
    const other = ['ENOENT', 'ENOTEMPTY', 'ENOTDIR', 'EISDIR'] as const
    if (other.some(code => hasCode(error, code))) return false
    throw error
  }
}

const removeDirectory = 0x200

function isEmptyFile(parent: number, name: string): boolean {
  const { mode, size } = syscalls().statx(parent, name)
  return (mode & constants.S_IFMT) === constants.S_IFREG && size === 0
}

/** `path` inside `upper`, or nothing when that is no directory any more. */
function openDirectory(upper: string, path: string): number | undefined {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | openFlags.closeOnExec
  const root = syscalls().openat2(atCwd, upper, [flags, 0, resolve.none])
  try {
    return syscalls().openat2(root, `.${path}`, [flags, 0, resolve.beneath | resolve.noSymlinks])
  } catch (error) {
    const gone = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV'] as const
    if (gone.some(code => hasCode(error, code))) return undefined
    throw error
  } finally {
    closeSync(root)
  }
}

const second = 1_000_000_000n

function nanosecondsOf({ seconds, nanoseconds }: Timestamp): bigint {
  return BigInt(seconds) * second + BigInt(nanoseconds)
}

/** Rounds down: before 1970 the nanoseconds still count up. */
function timestampOf(time: bigint): Timestamp {
  const nanoseconds = ((time % second) + second) % second
  return { seconds: Number((time - nanoseconds) / second), nanoseconds: Number(nanoseconds) }
}
