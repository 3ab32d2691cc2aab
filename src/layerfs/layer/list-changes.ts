/**
 * Changes as a list of paths, as `docker diff` shows them: of a layer, and between two trees.
 *
 * A directory that is gone is one change, whatever was in it; of one that is new every path is.
 */
import { closeSync, openSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { type Found, isUnchanged } from './compare-files.ts'
import { walkChanges } from './diff-walk.ts'
import { findDirectoryAt } from './directory-cache.ts'
import { foundAt, namesIn } from './directory-entries.ts'
import { type FileDifference, fileDifferences, modeText, ownerText } from './file-differences.ts'
import { isDirectory, isFile, openAs } from './file-type.ts'
import { maxDepth, tooDeep } from './max-depth.ts'
import { openWithoutLinks } from './open-in-root.ts'
import { overlayFormat } from './overlay-format.ts'
import { bytesOf, joinPath, nameOf, parentOf, rootPath, type SafePath } from './path-bytes.ts'
import { openRoot, type Root } from './rootfs.ts'
import { findAt, openDirectoryAt } from './walk-in-root.ts'

export interface PathChange {
  readonly kind: 'added' | 'changed' | 'deleted'
  readonly path: SafePath
  /** Bytes of a regular file as it is now. */
  readonly size: number
  /** Between two trees, of what is there now. */
  readonly mode?: string
  readonly owner?: string
  /** Between two trees, of what was there before. */
  readonly differences?: readonly FileDifference[]
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
  const walk = new TreeWalk()
  yield* walk.from({ path: rootPath, before: before.fd, after: after.fd })
}

interface Level {
  readonly path: SafePath
  /** Absent: everything is new. */
  readonly before: number | undefined
  readonly after: number
}

/** A directory that is being walked. */
interface Frame extends Level {
  readonly names: readonly string[]
  next: number
  /** The directory itself, when nothing of it needed saying yet. */
  readonly unsaid: PathChange | undefined
}

/** No deeper in calls than the trees are deep in directories. */
class TreeWalk {
  readonly #frames: Frame[] = []
  /** Unchanged directories on the way down, which a change in them will need. */
  readonly #unsaid: PathChange[] = [];

  *from(top: Level): Generator<PathChange> {
    this.#enter(top, undefined)
    try {
      for (let frame = this.#frames.at(-1); frame !== undefined; frame = this.#frames.at(-1)) {
        const name = frame.names[frame.next]
        frame.next += 1
        if (name === undefined) this.#leave()
        else yield* this.#name(frame, name)
      }
    } finally {
      while (this.#frames.length > 0) this.#leave()
    }
  }

  #enter(level: Level, unsaid: PathChange | undefined): void {
    const { before, after, path } = level
    if (this.#frames.length > maxDepth) throw tooDeep(path)
    const old = before === undefined ? [] : namesIn(before)
    const names = [...new Set([...old, ...namesIn(after)])].sort(byBytes)
    this.#frames.push({ ...level, names, next: 0, unsaid })
  }

  /** The top's descriptors are the caller's. */
  #leave(): void {
    const frame = this.#frames.pop()
    if (frame === undefined) return
    if (frame.unsaid !== undefined && this.#unsaid.at(-1) === frame.unsaid) this.#unsaid.pop()
    if (this.#frames.length === 0) return
    if (frame.before !== undefined) closeSync(frame.before)
    closeSync(frame.after)
  }

  *#name(level: Level, name: string): Generator<PathChange> {
    const path = joinPath(level.path, name)
    const old = level.before === undefined ? undefined : foundAt(level.before, name)
    const now = foundAt(level.after, name)
    if (now === undefined) {
      yield* this.#say(deleted(path))
    } else if (old !== undefined && isDirectory(old.stat) && isDirectory(now.stat)) {
      yield* this.#directory(path, old, now)
    } else if (old === undefined || !isSame(old, now)) {
      yield* this.#say(treeChange(path, old, now))
      const after = isDirectory(now.stat) ? findDirectoryAt(now.fd, now.name) : undefined
      if (after !== undefined) this.#enter({ path, before: undefined, after }, undefined)
    }
  }

  *#directory(path: SafePath, old: Found, now: Found): Generator<PathChange> {
    const isAlike = isUnchanged(now, old)
    const change = isAlike ? unchanged(path) : treeChange(path, old, now)
    if (isAlike) this.#unsaid.push(change)
    else yield* this.#say(change)
    const before = openDirectoryAt(old.fd, old.name)
    const after = openDirectoryAt(now.fd, now.name)
    this.#enter({ path, before, after }, isAlike ? change : undefined)
  }

  *#say(change: PathChange): Generator<PathChange> {
    yield* this.#unsaid.splice(0)
    yield change
  }
}

/** On the way to what changed in it. */
function unchanged(path: SafePath): PathChange {
  return { kind: 'changed', path, size: 0 }
}

function treeChange(path: SafePath, old: Found | undefined, now: Found): PathChange {
  const { stat } = now
  return {
    kind: old === undefined ? 'added' : 'changed',
    path,
    size: isFile(stat) ? stat.size : 0,
    mode: modeText(stat),
    owner: ownerText(stat),
    ...(old === undefined ? {} : { differences: fileDifferences(old, now) }),
  }
}

/** An overlay shows a file under the inode of the layer it is in: the same one is the same file. */
function isSame(old: Found, now: Found): boolean {
  if (old.stat.ino === now.stat.ino && old.stat.size === now.stat.size) return true
  return isUnchanged(now, old)
}

/** One character is one byte here. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : 1
}

/** As text, for people and scripts: `/etc/passwd`. */
export function pathText(path: SafePath): string {
  return `/${bytesOf(path).toString('utf8')}`
}
