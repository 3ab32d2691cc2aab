/**
 * SourceTree: what COPY and ADD read from: the build context, a stage, an image.
 *
 * Every path is resolved inside the tree's root by the kernel (openat2 RESOLVE_IN_ROOT): `..` and
 * symbolic links, also absolute ones, never lead outside (C03, C09, X09). File names are bytes.
 */
import { closeSync, constants, readlinkSync } from 'node:fs'
import type { Root } from '../../layerfs/layer/rootfs.ts'
import { type FileStat, openFlags, resolve, syscalls } from '../../layerfs/native/syscalls.ts'
import { hasCode } from '../../oci/errors.ts'

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
}

export type Ignored = 'keep' | 'drop' | 'descend'

/** A file or directory of a tree, symbolic links on the way to it resolved. */
export interface Located {
  /** Relative to the root, no leading `/`; empty: the root itself. */
  readonly path: Buffer
  readonly stat: FileStat
}

export function isDirectory(stat: FileStat): boolean {
  return (stat.mode & constants.S_IFMT) === constants.S_IFDIR
}

export function isRegularFile(stat: FileStat): boolean {
  return (stat.mode & constants.S_IFMT) === constants.S_IFREG
}

export function isSymbolicLink(stat: FileStat): boolean {
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
    if (nowhere.some(code => hasCode(error, code))) return undefined
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

/** The entries of a directory, sorted by bytes. */
export function listDirectory(tree: SourceTree, path: Uint8Array): Located[] {
  const sys = syscalls()
  const name = path.length === 0 ? '.' : path
  const fd = sys.openat2(tree.fd, name, [
    openFlags.path | constants.O_DIRECTORY,
    0,
    resolve.inRoot | resolve.noSymlinks,
  ])
  try {
    return sys
      .readdir(fd)
      .map(entry => entry.name)
      .sort(Buffer.compare)
      .flatMap(entry => {
        const stat = statEntry(fd, entry)
        return stat === undefined ? [] : [{ path: joinPath(path, entry), stat }]
      })
  } finally {
    closeSync(fd)
  }
}

/** `undefined` when the entry vanished since it was listed: a context may change under us (X08). */
function statEntry(fd: number, name: Buffer): FileStat | undefined {
  try {
    return syscalls().statx(fd, name)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

const slash = Buffer.from('/')

export function joinPath(directory: Uint8Array, name: Uint8Array): Buffer {
  return directory.length === 0 ? Buffer.from(name) : Buffer.concat([directory, slash, name])
}
