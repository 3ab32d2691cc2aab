/**
 * SourceTree: what COPY and ADD read from: the build context, a stage, an image.
 *
 * Every path is resolved inside the tree's root by the kernel (openat2 RESOLVE_IN_ROOT): `..` and
 * symbolic links, also absolute ones, never lead outside (C03, C09, X09). File names are bytes.
 */
import { isUtf8 } from 'node:buffer'
import { closeSync, constants, readlinkSync } from 'node:fs'
import { openAs } from '../../layerfs/layer/file-type.ts'
import { openWithoutLinks } from '../../layerfs/layer/open-in-root.ts'
import { safePath, shown } from '../../layerfs/layer/path-bytes.ts'
import type { Root } from '../../layerfs/layer/rootfs.ts'
import { type FileStat, openFlags, resolve, syscalls } from '../../layerfs/native/syscalls.ts'
import { hasCode, OciError } from '../../oci/errors.ts'

export interface SourceTree extends Disposable {
  readonly root: Root
  /** The root directory's descriptor. */
  readonly fd: number
  /** What the user calls it, for messages: `the build context`, `stage "build"`. */
  readonly name: string
  /**
   * Whether .dockerignore keeps the path out (relative, without leading `/`), and whether something
   * below an excluded directory may be let in again.
   */
  ignores(path: string, isDirectory: boolean): Ignored
  /** What decides what `ignores` answers; empty: nothing is kept out. */
  readonly ignored: readonly string[]
}

export type Ignored = 'keep' | 'drop' | 'descend'

/** A file or directory of a tree, symbolic links on the way to it resolved. */
export interface Located {
  /** Relative to the root, no leading `/`; empty: the root itself. */
  readonly path: Buffer
  readonly stat: FileStat
}

/** What of a stat tells the type. */
type Mode = Pick<FileStat, 'mode'>

export function isDirectory(stat: Mode): boolean {
  return (stat.mode & constants.S_IFMT) === constants.S_IFDIR
}

export function isRegularFile(stat: Mode): boolean {
  return (stat.mode & constants.S_IFMT) === constants.S_IFREG
}

export function isSymbolicLink(stat: Mode): boolean {
  return (stat.mode & constants.S_IFMT) === constants.S_IFLNK
}

/** The thing at `path`, a final symbolic link followed; `undefined` when there is none. */
export function locate(tree: SourceTree, path: string | Uint8Array): Located | undefined {
  const fd = openInside(tree, path)
  if (fd === undefined) return undefined
  try {
    const stat = syscalls().statx(fd, '')
    return { path: pathOf(tree, fd), stat }
  } finally {
    closeSync(fd)
  }
}

/** What a path that leads nowhere answers, as opposed to a failing disk. */
const nowhere = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'] as const

function openInside(tree: SourceTree, path: string | Uint8Array): number | undefined {
  try {
    const name = path.length === 0 ? '.' : path
    return syscalls().openat2(tree.fd, name, [openFlags.path, 0, resolve.inRoot])
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

/** The kernel's name of an open file, cut to what is below the tree's root. */
function pathOf(tree: SourceTree, fd: number): Buffer {
  const root = linkOf(tree.fd)
  const full = linkOf(fd)
  const prefix = root.length === 1 ? 1 : root.length + 1
  return full.length < prefix ? Buffer.alloc(0) : full.subarray(prefix)
}

function linkOf(fd: number): Buffer {
  return readlinkSync(`/proc/self/fd/${fd}`, { encoding: 'buffer' })
}

/** Whether what was found is no longer there, or something else stands there. */
export function isGone(error: unknown): boolean {
  return nowhere.some(code => hasCode(error, code))
}

/** A system's error told with the file that it is about; others as they are. */
export function unreadable(tree: SourceTree, path: Uint8Array, error: unknown): unknown {
  if (error instanceof OciError || !(error instanceof Error && 'code' in error)) return error
  const reason = /^[A-Z0-9]+: ([^,]+)/.exec(error.message)?.[1] ?? error.message
  const message = `Cannot read ${shown(safePath(path))} in ${tree.name}: ${reason}`
  return new OciError('unavailable', message, {
    cause: error,
    hint: 'leave it out with .dockerignore if it is not needed',
  })
}

/** A file's name in an open directory. */
export interface FilePlace extends Disposable {
  readonly fd: number
  readonly name: Buffer
}

/** What a path and a call's own prefix may have together. */
const longestPath = 4000

/** Where calls reach the file at `path`, however long that is; no link on the way is followed. */
export function placeAt(tree: SourceTree, path: Buffer): FilePlace {
  if (path.length < longestPath) return { fd: tree.fd, name: path, [Symbol.dispose]: () => {} }
  const slash = path.lastIndexOf('/')
  const fd = openWithoutLinks(tree.fd, safePath(path.subarray(0, slash)), openAs.directory)
  return { fd, name: path.subarray(slash + 1), [Symbol.dispose]: () => closeSync(fd) }
}

/**
 * A path as text that no other path has: UTF-8, and where it is none its bytes in hexadecimal too,
 * behind a "//" that no path has.
 */
export function pathText(path: Buffer): string {
  const text = path.toString()
  return isUtf8(path) ? text : `${text}//${path.toString('hex')}`
}

const slash = Buffer.from('/')

export function joinPath(directory: Uint8Array, name: Uint8Array): Buffer {
  return directory.length === 0 ? Buffer.from(name) : Buffer.concat([directory, slash, name])
}
