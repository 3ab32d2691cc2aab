/**
 * Copying files and directories into a filesystem state, as COPY and ADD do.
 *
 * 1. Nothing is written outside the target root: its top is walked inside the root, everything
 *    below by names in directories that are held open, and no link below is followed.
 * 2. Nothing is read through a link below the source either: links are copied as links.
 * 3. Owner, attributes, mode and time are exact, whatever the umask; a directory's time is set
 *    after its content is there.
 *
 * Reference: builder.md C04, C10–C15, C22, C23.
 */
import { closeSync } from 'node:fs'
import { syscalls } from '../native/syscalls.ts'
import { copyEntry, setDirectoryAttributes } from './copy-entry.ts'
import { isDirectory, openAs } from './file-type.ts'
import { latin1Of } from './path-bytes.ts'
import { openListing } from './remove-tree.ts'
import type { Root } from './rootfs.ts'
import { type DirectoryAttributes, findAt, openDirectoryAt } from './walk-in-root.ts'

export interface CopyOptions {
  /** Absent: as the source's. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** Permissions of files and directories; links have none. Absent: as the source's. */
  readonly mode?: (mode: number, isDirectory: boolean) => number
  /**
   * By path below the source, `/` between components. `descend`: the directory itself only if
   * something below it is kept.
   */
  readonly select?: (relative: Buffer, isDirectory: boolean) => 'kept' | 'dropped' | 'descend'
  readonly signal?: AbortSignal
}

/** A thing in an open directory; `name` is Latin-1. */
export interface CopySource {
  readonly dirFd: number
  readonly name: string
}

export interface CopyTarget {
  readonly root: Root
  /** Links on the way and at the end are followed, inside the root. */
  readonly path: string | Uint8Array
}

/** What one copy has seen so far. */
export interface Copying {
  readonly options: CopyOptions
  /** The directory that the copy fills. */
  readonly topFd: number
  /** Where below it the first of several hard links went, by device and inode (C14). */
  readonly links: Map<string, string>
  entries: number
}

/**
 * Copies a file, link or special file to `target` itself, replacing a file there. Missing
 * directories are made. Throws `invalid` when a directory stands there.
 */
export async function copyFile(
  source: CopySource,
  target: CopyTarget,
  options: CopyOptions = {},
): Promise<void> {
  using place = target.root.openParent(target.path, 'follow', newDirectory(options))
  const stat = findAt(source.dirFd, source.name)
  if (stat === undefined) return
  const { fd: dirFd, name } = place
  await copyEntry({ ...source, stat }, { dirFd, name, relative: name }, started(options, dirFd))
}

/**
 * Copies what is in a directory into the directory `target`, which is made when missing and keeps
 * its attributes when not. Throws `invalid` when something else stands there.
 */
export async function copyDirectory(
  source: CopySource,
  target: CopyTarget,
  options: CopyOptions = {},
): Promise<void> {
  target.root.mkdirs(target.path, newDirectory(options))
  const dirFd = target.root.open(target.path, openAs.directory)
  try {
    await copyContents(source, { dirFd, relative: '' }, started(options, dirFd))
  } finally {
    closeSync(dirFd)
  }
}

function started(options: CopyOptions, topFd: number): Copying {
  return { options, topFd, links: new Map(), entries: 0 }
}

/** A directory that has to be made belongs to the new owner, else to root (C05, C13). */
function newDirectory({ owner, mode }: CopyOptions): DirectoryAttributes {
  return { mode: mode?.(0o755, true) ?? 0o755, uid: owner?.uid ?? 0, gid: owner?.gid ?? 0 }
}

interface Inside {
  readonly dirFd: number
  /** Path below the source, Latin-1. */
  readonly relative: string
}

/** How many entries are copied before others get a turn. */
const entriesPerTurn = 64

async function copyContents(source: CopySource, into: Inside, copying: Copying): Promise<void> {
  const dirFd = openListing(source.dirFd, source.name)
  try {
    const names = syscalls()
      .readdir(dirFd)
      .map(entry => latin1Of(entry.name))
    for (const name of names.sort()) await copyChild({ dirFd, name }, into, copying)
  } finally {
    closeSync(dirFd)
  }
}

async function copyChild(source: CopySource, into: Inside, copying: Copying): Promise<void> {
  const stat = findAt(source.dirFd, source.name)
  if (stat === undefined) return
  await takeTurn(copying)
  const relative = into.relative === '' ? source.name : `${into.relative}/${source.name}`
  const isDir = isDirectory(stat)
  const selected = copying.options.select?.(Buffer.from(relative, 'latin1'), isDir) ?? 'kept'
  if (selected === 'dropped' || (selected === 'descend' && !hasKept(source, relative, copying))) {
    return
  }
  const target = { dirFd: into.dirFd, name: source.name, relative }
  await copyEntry({ ...source, stat }, target, copying)
  if (!isDir) return
  const dirFd = openDirectoryAt(into.dirFd, source.name)
  try {
    await copyContents(source, { dirFd, relative }, copying)
  } finally {
    closeSync(dirFd)
  }
  setDirectoryAttributes({ ...source, stat }, target, copying)
}

/** Whether anything below a directory that is itself left out is kept after all. */
function hasKept(source: CopySource, relative: string, copying: Copying): boolean {
  const dirFd = openListing(source.dirFd, source.name)
  try {
    return syscalls()
      .readdir(dirFd)
      .some(entry => {
        const name = latin1Of(entry.name)
        const path = `${relative}/${name}`
        const stat = findAt(dirFd, name)
        if (stat === undefined) return false
        const isDir = isDirectory(stat)
        const selected = copying.options.select?.(Buffer.from(path, 'latin1'), isDir) ?? 'kept'
        if (selected !== 'descend') return selected === 'kept'
        return hasKept({ dirFd, name }, path, copying)
      })
  } finally {
    closeSync(dirFd)
  }
}

async function takeTurn(copying: Copying): Promise<void> {
  copying.entries += 1
  if (copying.entries % entriesPerTurn !== 0) return
  await new Promise(resume => setImmediate(resume))
  copying.options.signal?.throwIfAborted()
}
