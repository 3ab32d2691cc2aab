/**
 * What a store reads in its own folders. Somebody may have put there what is none of ours: a
 * directory, a link, a FIFO. It counts as missing, so that it stops nobody and is not waited for;
 * `fsck` names it (image/store-use.ts).
 */
import {
  closeSync,
  constants,
  type Dirent,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
} from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { ignoreMissing } from './atomic-file.ts'

/** For who opens such a file: no link is followed, and no FIFO waits for somebody who writes. */
export const ownFileFlags: number = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** The names of the plain files in `directory`, sorted; none when it does not exist. */
export function filesIn(directory: string): string[] {
  return entriesIn(directory, entry => entry.isFile())
}

/** As {@link filesIn}, of the directories. */
export function directoriesIn(directory: string): string[] {
  return entriesIn(directory, entry => entry.isDirectory())
}

function entriesIn(directory: string, isWanted: (entry: Dirent) => boolean): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true })
    return entries
      .filter(isWanted)
      .map(({ name }) => name)
      .sort()
  } catch (error) {
    return ignoreForeign(error) ?? []
  }
}

/**
 * All of a small file; `undefined` when none is there. At once, and looked for first: most that a
 * build asks for is absent, and an error takes ten times as long as the look.
 */
export function readOwnText(path: string): string | undefined {
  return whenOpen(path, fd => readFileSync(fd, 'utf8'))
}

/** As {@link readOwnText}. */
export function readOwnBytes(path: string): Buffer | undefined {
  return whenOpen(path, fd => readFileSync(fd))
}

function whenOpen<T>(path: string, read: (fd: number) => T): T | undefined {
  if (!existsSync(path)) return undefined
  let fd: number | undefined
  try {
    fd = openSync(path, ownFileFlags)
    return fstatSync(fd).isFile() ? read(fd) : undefined
  } catch (error) {
    return ignoreForeign(error)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** `undefined` when no plain file is there. */
export function ownFileSize(path: string): number | undefined {
  try {
    const found = lstatSync(path, { throwIfNoEntry: false })
    return found?.isFile() ? found.size : undefined
  } catch (error) {
    return ignoreForeign(error)
  }
}

/** What the kernel says of a path whose file, or a directory above it, is something else. */
const foreign = ['ENOTDIR', 'EISDIR', 'ELOOP', 'ENXIO'] as const

/** For `catch`, as {@link ignoreMissing}. */
export function ignoreForeign(error: unknown): undefined {
  if (foreign.every(code => !hasCode(error, code))) ignoreMissing(error)
}
