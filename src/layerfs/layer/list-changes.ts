/**
 * Changes as a list of paths, as `docker diff` shows them: of a layer, and between two trees.
 *
 * A directory that is gone is one change, whatever was in it; of one that is new every path is.
 */
import { closeSync, openSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import { type Found, isUnchanged } from './compare-files.ts'
import { walkChanges } from './diff-walk.ts'
import { findDirectoryAt } from './directory-cache.ts'
import { isDirectory, isFile, openAs } from './file-type.ts'
import { openWithoutLinks } from './open-in-root.ts'
import { overlayFormat } from './overlay-format.ts'
import { bytesOf, joinPath, nameOf, parentOf, rootPath, type SafePath } from './path-bytes.ts'
import { openListing } from './remove-tree.ts'
import { openRoot, type Root } from './rootfs.ts'
import { findAt, openDirectoryAt } from './walk-in-root.ts'

export interface PathChange {
  readonly kind: 'added' | 'changed' | 'deleted'
  readonly path: SafePath
  /** Bytes of a regular file as it is now. */
  readonly size: number
}

export interface ChangedLayer {
  readonly upper: string
  /** **Top first.** */
  readonly lower: readonly string[]
}

/** In the order of a diff's tar. Throws `conflict` when somebody writes to the layer meanwhile. */
export function* layerChanges({ upper, lower }: ChangedLayer): Generator<PathChange> {
  using below = lower.length > 0 ? openRoot({ kind: 'overlay', lower }) : undefined
  const upperFd = openSync(upper, openAs.directory)
  try {
    const trees = { upperFd, lowerFd: below?.fd, format: overlayFormat() }
    for (const change of walkChanges(trees)) {
      const { kind, path } = change
      if (kind === 'whiteout') yield deleted(path)
      else if (kind === 'opaque') yield* hiddenIn(path, upperFd, below)
      else yield contentChange(path, change.found, below)
    }
  } finally {
    closeSync(upperFd)
  }
}

function contentChange(path: SafePath, { stat }: Found, below: Root | undefined): PathChange {
  const size = isFile(stat) ? stat.size : 0
  return { kind: existsIn(below, path) ? 'changed' : 'added', path, size }
}

function deleted(path: SafePath): PathChange {
  return { kind: 'deleted', path, size: 0 }
}

/** What the layers below have in a directory that hides them, and the layer has not. */
function* hiddenIn(
  path: SafePath,
  upperFd: number,
  below: Root | undefined,
): Generator<PathChange> {
  if (below === undefined) return
  const upper = openWithoutLinks(upperFd, path, openAs.directory)
  const lower = openWithoutLinks(below.fd, path, openAs.directory)
  try {
    for (const name of namesIn(lower)) {
      if (findAt(upper, name) === undefined) yield deleted(joinPath(path, name))
    }
  } finally {
    closeSync(upper)
    closeSync(lower)
  }
}

/** Not through links: what they lead to has a path of its own. */
function existsIn(root: Root | undefined, path: SafePath): boolean {
  if (root === undefined) return false
  try {
    const fd = openWithoutLinks(root.fd, parentOf(path), openAs.directory)
    try {
      return findAt(fd, nameOf(path)) !== undefined
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].some(code => hasCode(error, code as 'ENOENT'))) return false
    throw error
  }
}

/** What `after` is different in. Both from one file system, whose files do not change meanwhile. */
export function* treeChanges(before: Root, after: Root): Generator<PathChange> {
  yield* new TreeWalk().level({ path: rootPath, before: before.fd, after: after.fd })
}

interface Level {
  readonly path: SafePath
  readonly before: number
  readonly after: number
}

class TreeWalk {
  /** Unchanged directories on the way down, which a change in them will need. */
  readonly #unsaid: PathChange[] = [];

  *level({ path, before, after }: Level): Generator<PathChange> {
    const names = new Set([...namesIn(before), ...namesIn(after)])
    for (const name of [...names].sort(byBytes)) {
      const child = joinPath(path, name)
      yield* this.#name(child, foundAt(before, name), foundAt(after, name))
    }
  }

  *#name(path: SafePath, old: Found | undefined, now: Found | undefined): Generator<PathChange> {
    if (now === undefined) {
      yield* this.#say(deleted(path))
    } else if (old !== undefined && isDirectory(old.stat) && isDirectory(now.stat)) {
      yield* this.#directory(path, old, now)
    } else if (old === undefined || !isSame(old, now)) {
      const size = isFile(now.stat) ? now.stat.size : 0
      yield* this.#say({ kind: old === undefined ? 'added' : 'changed', path, size })
      if (isDirectory(now.stat)) yield* this.#added(path, now)
    }
  }

  *#directory(path: SafePath, old: Found, now: Found): Generator<PathChange> {
    const change: PathChange = { kind: 'changed', path, size: 0 }
    if (isUnchanged(now, old)) this.#unsaid.push(change)
    else yield* this.#say(change)
    const before = openDirectoryAt(old.fd, old.name)
    const after = openDirectoryAt(now.fd, now.name)
    try {
      yield* this.level({ path, before, after })
    } finally {
      closeSync(before)
      closeSync(after)
    }
    if (this.#unsaid.at(-1) === change) this.#unsaid.pop()
  }

  *#added(path: SafePath, { fd, name }: Found): Generator<PathChange> {
    const directory = findDirectoryAt(fd, name)
    if (directory === undefined) return
    try {
      for (const each of namesIn(directory).sort(byBytes)) {
        yield* this.#name(joinPath(path, each), undefined, foundAt(directory, each))
      }
    } finally {
      closeSync(directory)
    }
  }

  *#say(change: PathChange): Generator<PathChange> {
    yield* this.#unsaid.splice(0)
    yield change
  }
}

/** An overlay shows a file under the inode of the layer it is in: the same one is the same file. */
function isSame(old: Found, now: Found): boolean {
  if (old.stat.ino === now.stat.ino && old.stat.size === now.stat.size) return true
  return isUnchanged(now, old)
}

function foundAt(fd: number, name: string): Found | undefined {
  const stat = findAt(fd, name)
  return stat === undefined ? undefined : { fd, name, stat }
}

function namesIn(dirFd: number): string[] {
  const listing = openListing(dirFd, '.')
  try {
    return syscalls()
      .readdir(listing)
      .map(({ name }) => name.toString('latin1'))
  } finally {
    closeSync(listing)
  }
}

/** One character is one byte here. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : 1
}

/** As text, for people and scripts: `/etc/passwd`. */
export function pathText(path: SafePath): string {
  return `/${bytesOf(path).toString('utf8')}`
}
