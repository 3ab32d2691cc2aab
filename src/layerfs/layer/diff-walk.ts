/**
 * The walk behind a diff: the upper directory alone, name by name in byte order, each beside what
 * the layers below show at the same place.
 *
 * 1. In a directory, what is hidden comes before what is there (image-spec, Whiteouts).
 * 2. A directory stands before everything in it, with its own attributes, also when only something
 *    in it changed; a directory with nothing to say, in it or of itself, is left out.
 * 3. Nothing is hidden that no layer below has.
 * 4. The depth of the tree is no depth of calls: a step can make directories in directories until
 *    every stack is full. What a layer cannot have is refused.
 */
import { closeSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { xattrsAt } from './attributes.ts'
import { type Found, isUnchanged } from './compare-files.ts'
import { findDirectoryAt } from './directory-cache.ts'
import { foundAt, foundIn, namesIn } from './directory-entries.ts'
import { fileType, isDirectory, typeMask } from './file-type.ts'
import { maxDepth, tooDeep } from './max-depth.ts'
import { isWhiteout, type OverlayFormat, whiteoutPrefix } from './overlay-format.ts'
import { joinPath, rootPath, type SafePath, shown } from './path-bytes.ts'
import { openListing } from './remove-tree.ts'
import { findAt } from './walk-in-root.ts'

export type Change =
  | { readonly kind: 'whiteout'; readonly path: SafePath }
  | { readonly kind: 'opaque'; readonly path: SafePath }
  /** What is at `path` now. `found` is valid until the next change is asked for. */
  | { readonly kind: 'content'; readonly path: SafePath; readonly found: Found }

/** Above this many names, one opaque whiteout is shorter than a whiteout for each. */
const explicitWhiteouts = 64

export interface DiffTrees {
  /** The upper directory, as a descriptor; stays the caller's. */
  readonly upperFd: number
  /** What the layers below show together; absent: nothing. */
  readonly lowerFd: number | undefined
  readonly format: OverlayFormat
}

interface Level {
  readonly path: SafePath
  readonly upperFd: number
  readonly lowerFd: number | undefined
  /** Nothing below shows through here. */
  readonly isOpaque: boolean
}

export function* walkChanges(trees: DiffTrees): Generator<Change> {
  const { upperFd, lowerFd } = trees
  const walk = new Walk(trees.format)
  yield* walk.from({ path: rootPath, upperFd, lowerFd, isOpaque: false })
}

/** A directory that is being walked. */
interface Frame {
  readonly listing: number
  readonly found: readonly Found[]
  next: number
  /** The level without what an opaque marker hides. */
  readonly shown: Level
  /** Descriptors that end with the frame. */
  readonly opened: readonly number[]
  /** The directory itself, when nothing of it needed saying yet. */
  readonly unsaid: Change | undefined
}

interface Entered {
  readonly level: Level
  readonly opened: readonly number[]
  readonly unsaid: Change | undefined
}

class Walk {
  readonly #format: OverlayFormat
  readonly #frames: Frame[] = []
  /** Unchanged directories on the way down, which a change in them will need. */
  readonly #unsaid: Change[] = []

  constructor(format: OverlayFormat) {
    this.#format = format
  }

  *from(top: Level): Generator<Change> {
    try {
      yield* this.#enter({ level: top, opened: [], unsaid: undefined })
      for (;;) {
        const frame = this.#frames.at(-1)
        if (frame === undefined) return
        const each = frame.found[frame.next]
        frame.next += 1
        if (each === undefined) this.#leave()
        else if (!isWhiteout(each.stat)) yield* this.#entry(frame.shown, each)
      }
    } finally {
      for (const frame of this.#frames) close(frame)
    }
  }

  *#enter({ level, opened, unsaid }: Entered): Generator<Change> {
    const listing = openListing(level.upperFd, '.')
    const found = foundIn(listing)
    const frame = { listing, found, next: 0, shown: level, opened, unsaid }
    this.#frames.push(frame)
    const shown = yield* this.#hidden(level, found)
    this.#frames[this.#frames.length - 1] = { ...frame, shown }
  }

  #leave(): void {
    const frame = this.#frames.pop()
    if (frame === undefined) return
    if (frame.unsaid !== undefined && this.#unsaid.at(-1) === frame.unsaid) this.#unsaid.pop()
    close(frame)
  }

  /** Answers the level as it is with all that hidden: an opaque marker leaves nothing below. */
  *#hidden(level: Level, found: readonly Found[]): Generator<Change, Level> {
    const { path, lowerFd, isOpaque } = level
    if (lowerFd === undefined) return level
    const upper = new Set(found.filter(({ stat }) => !isWhiteout(stat)).map(({ name }) => name))
    const hidden = isOpaque
      ? namesIn(lowerFd)
          .filter(name => !upper.has(name))
          .sort(byBytes)
      : found
          .filter(({ stat, name }) => isWhiteout(stat) && findAt(lowerFd, name) !== undefined)
          .map(({ name }) => name)
    if (isOpaque && hidden.length > explicitWhiteouts) {
      yield* this.#say({ kind: 'opaque', path })
      return { ...level, lowerFd: undefined }
    }
    for (const name of hidden) yield* this.#say({ kind: 'whiteout', path: joinPath(path, name) })
    return level
  }

  *#entry(level: Level, upper: Found): Generator<Change> {
    const path = joinPath(level.path, upper.name)
    if (upper.name.startsWith(whiteoutPrefix)) throw reservedName(path)
    // A socket lives as long as the process that made it.
    if ((upper.stat.mode & typeMask) === fileType.socket) return
    const lower = lowerFound(level, upper.name)
    const change: Change = { kind: 'content', path, found: upper }
    if (isDirectory(upper.stat)) {
      yield* this.#directory(level, change, lower)
      return
    }
    // Two names of one file are a change, even if each looks the same as before.
    if (lower === undefined || upper.stat.links > 1 || !isUnchanged(upper, lower)) {
      yield* this.#say(change)
    }
  }

  *#directory(
    level: Level,
    change: Change & { kind: 'content' },
    lower: Found | undefined,
  ): Generator<Change> {
    const { found, path } = change
    if (this.#frames.length > maxDepth) throw tooDeep(path)
    const hasLower = lower !== undefined && isDirectory(lower.stat)
    const isSame = hasLower && isUnchanged(found, lower)
    if (isSame) this.#unsaid.push(change)
    else yield* this.#say(change)
    const upperFd = openDirectory(found)
    const lowerFd = hasLower ? openDirectory(lower) : undefined
    const isOpaque = level.isOpaque || this.#isOpaque(upperFd)
    yield* this.#enter({
      level: { path, upperFd, lowerFd, isOpaque },
      opened: lowerFd === undefined ? [upperFd] : [upperFd, lowerFd],
      unsaid: isSame ? change : undefined,
    })
  }

  *#say(change: Change): Generator<Change> {
    yield* this.#unsaid.splice(0)
    yield change
  }

  /** Throws `unsupported` for a directory whose content is elsewhere: our mounts make none. */
  #isOpaque(fd: number): boolean {
    let isOpaque = false
    const prefix = this.#format.xattrPrefix
    for (const { name, value } of xattrsAt(fd, '.')) {
      const text = name.toString('latin1')
      if (text === `${prefix}opaque`) isOpaque = value.equals(Buffer.from('y'))
      if (text === `${prefix}redirect`) {
        throw new OciError('unsupported', 'Cannot diff a layer that was mounted with redirect_dir')
      }
    }
    return isOpaque
  }
}

function close({ listing, opened }: Frame): void {
  for (const fd of [listing, ...opened]) closeSync(fd)
}

/** One character is one byte here. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : 1
}

function lowerFound({ lowerFd }: Level, name: string): Found | undefined {
  return lowerFd === undefined ? undefined : foundAt(lowerFd, name)
}

function openDirectory({ fd, name }: Found): number {
  const opened = findDirectoryAt(fd, name)
  if (opened === undefined) {
    throw new OciError('conflict', 'Cannot diff a layer: something is still writing to it')
  }
  return opened
}

function reservedName(path: SafePath): OciError {
  return new OciError(
    'unsupported',
    `Cannot store "${shown(path)}" in a layer: image layers reserve names that begin with ".wh."`,
    { hint: 'remove or rename the file in the step that makes it' },
  )
}
