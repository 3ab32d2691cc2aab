/**
 * What makes a file survive a power failure: its bytes are synced, it appears whole under its name
 * (link or rename), and the directory that names it is synced.
 *
 * Only what waits for the disk goes through a thread. The other calls end in the kernel's memory: to
 * wake a thread for each of them takes several times as long, and most of the processor time of a push
 * (measured).
 */
import {
  closeSync,
  constants,
  fdatasync,
  fsync,
  mkdirSync,
  openSync,
  rmdirSync,
  write,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { hasCode } from '../../../oci/errors.ts'

/** Of an open file, by its number. */
export const syncBytes: (fd: number) => Promise<void> = promisify(fdatasync)
/** As {@link syncBytes}, with the file's attributes; of a directory, the names in it. */
export const syncAll: (fd: number) => Promise<void> = promisify(fsync)
const writeByThread = promisify(write)

/** Syncs a directory that names something new, or sees to it that somebody will. */
export type NoteChange = (directory: string) => Promise<void>

/** Makes `path` and its missing parents, and tells `note` of the parent of each that it made. */
export async function makeDirectory(path: string, note: NoteChange = syncDirectory): Promise<void> {
  const parents: string[] = []
  make(path, parents)
  // At once: the file system writes them together.
  await Promise.all(parents.map(note))
}

/**
 * Notes the parents of those that it made. Again when a parent is gone meanwhile, but not for ever:
 * in /proc nothing can be made, and it says so of no parent.
 */
function make(path: string, parents: string[], attempts = 100): void {
  try {
    mkdirSync(path, { mode: 0o755 })
    parents.push(dirname(path))
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return
    if (!hasCode(error, 'ENOENT') || attempts === 0) throw error
    make(dirname(path), parents)
    make(path, parents, attempts - 1)
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await syncAll(directory)
  } finally {
    closeSync(directory)
  }
}

/** Copied to the kernel in less time than a thread takes to wake. */
const smallWrite = 64 * 1024

/** Creates `path`, which must not exist, empty: it is whole as soon as it is there. */
export function createEmptyFile(path: string): void {
  closeSync(openSync(path, 'wx', 0o644))
}

/** Creates `path`, which must not exist, with `bytes`. */
export async function writeNewFile(
  path: string,
  bytes: Uint8Array,
  durability: 'synced' | 'cached',
): Promise<void> {
  const file = openSync(path, 'wx', 0o644)
  try {
    for (let at = 0; at < bytes.length; ) {
      const rest = bytes.subarray(at)
      at +=
        rest.length <= smallWrite
          ? writeSync(file, rest)
          : (await writeByThread(file, rest)).bytesWritten
    }
    // An empty file is its name, and its directory has that.
    if (durability === 'synced' && bytes.length > 0) await syncBytes(file)
  } finally {
    closeSync(file)
  }
}

/**
 * Runs `step`, making the parent directory when it is missing. Again and again: another request may
 * delete the last file beside this one, and its empty directory, in between.
 */
export async function withParent<T>(
  path: string,
  step: () => T,
  note: NoteChange = syncDirectory,
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return step()
    } catch (error) {
      if (!hasCode(error, 'ENOENT') || attempt === 5) throw error
      await makeDirectory(dirname(path), note)
    }
  }
}

/**
 * Removes `directory` and its parents while they are empty; what is directly below `top` stays: each
 * time that one comes again is another wait for the disk.
 */
export function removeEmptyDirectories(directory: string, top: string): void {
  for (let path = directory; dirname(path) !== top && path !== top; path = dirname(path)) {
    try {
      rmdirSync(path)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) continue
      if (hasCode(error, 'ENOTEMPTY') || hasCode(error, 'EBUSY')) return
      throw error
    }
  }
}
