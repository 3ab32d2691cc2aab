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
import { type Listing, listingOf } from '../native/listing.ts'
import { xattrsAt } from './attributes.ts'
import { type Found, isUnchanged } from './compare-files.ts'
import { findDirectoryAt } from './directory-cache.ts'
import { allIn, foundAt, foundIn, namesIn } from './directory-entries.ts'
import { fileType, isDirectory, isFile, typeMask } from './file-type.ts'
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

/**
 * Entries of a directory, all of them files of one name, and all of them new: most of what a layer
 * has. The descriptor is valid until the next change is asked for.
 */
export interface FileRun {
  readonly kind: 'files'
  /** The directory's. */
  readonly path: SafePath
  readonly fd: number
  readonly listing: Listing
  /** Half-open, in the listing. */
  readonly start: number
  readonly end: number
}

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
  for (const change of walkRuns(trees)) {
    if (change.kind === 'files') yield* filesOf(change)
    else yield change
  }
}

/** The same for who has a faster way with many files than with each. */
export function* walkRuns(trees: DiffTrees): Generator<Change | FileRun> {
  const { upperFd, lowerFd } = trees
  const walk = new Walk(trees.format)
  yield* walk.from({ path: rootPath, upperFd, lowerFd, isOpaque: false })
}

export function* filesOf({ path, fd, listing, start, end }: FileRun): Generator<ContentChange> {
  for (let index = start; index < end; index++) {
    const found = foundIn(fd, listing, index)
    yield { kind: 'content', path: joinPath(path, found.name), found }
  }
}

export type ContentChange = Change & { readonly kind: 'content' }

/** A directory that is being walked. */
interface Frame {
  /** The open directory. */
  readonly fd: number
  readonly listing: Listing
  /** Entry by entry from here on. */
  next: number
  /** The listing's. */
  readonly others: Uint32Array
  /** How many of them stand before `next`. */
  passed: number
  readonly hasReserved: boolean
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

  *from(top: Level): Generator<Change | FileRun> {
    try {
      yield* this.#enter({ level: top, opened: [], unsaid: undefined })
      for (let frame = this.#frames.at(-1); frame !== undefined; frame = this.#frames.at(-1)) {
        const { fd, listing, next: start, shown } = frame
        const end = runEnd(frame)
        frame.next = Math.max(end, start + 1)
        if (start === listing.length) this.#leave()
        else if (end > start) yield* this.#run({ path: shown.path, fd, listing, start, end })
        else yield* this.#entry(frame, start)
      }
    } finally {
      for (const frame of this.#frames) close(frame)
    }
  }

  *#enter({ level, opened, unsaid }: Entered): Generator<Change> {
    const fd = openListing(level.upperFd, '.')
    const listing = listingOf(fd)
    const { others } = listing
    const hasReserved = listing.bytes.includes(whiteoutPrefix)
    const at = { fd, listing, next: 0, others, passed: 0 }
    const frame: Frame = { ...at, hasReserved, shown: level, opened, unsaid }
    this.#frames.push(frame)
    const shown = yield* this.#hidden(level, frame)
    this.#frames[this.#frames.length - 1] = { ...frame, shown }
  }

  #leave(): void {
    const frame = this.#frames.pop()
    if (frame === undefined) return
    if (frame.unsaid !== undefined && this.#unsaid.at(-1) === frame.unsaid) this.#unsaid.pop()
    close(frame)
  }

  /** Answers the level as it is with all that hidden: an opaque marker leaves nothing below. */
  *#hidden(level: Level, { fd, listing }: Frame): Generator<Change, Level> {
    const { path, lowerFd, isOpaque } = level
    if (lowerFd === undefined) return level
    const found = allIn(fd, listing)
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

  *#run(run: Omit<FileRun, 'kind'>): Generator<Change | FileRun> {
    yield* this.#unsaid.splice(0)
    yield { kind: 'files', ...run }
  }

  *#entry({ shown: level, fd, listing }: Frame, index: number): Generator<Change | FileRun> {
    const upper = foundIn(fd, listing, index)
    if (isWhiteout(upper.stat)) return
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
    if (lower === undefined && isPlain(upper)) {
      yield* this.#run({ path: level.path, fd, listing, start: index, end: index + 1 })
      return
    }
    // Two names of one file are a change, even if each looks the same as before.
    if (lower === undefined || upper.stat.links > 1 || !isUnchanged(upper, lower)) {
      yield* this.#say(change)
    }
  }

  *#directory(level: Level, change: ContentChange, lower: Found | undefined): Generator<Change> {
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

function close({ fd, opened }: Frame): void {
  for (const each of [fd, ...opened]) closeSync(each)
}

/** Up to where files of one name follow each other that nothing below can have; nowhere: `next`. */
function runEnd(frame: Frame): number {
  const { listing, next, others, shown, hasReserved } = frame
  if (shown.lowerFd !== undefined || hasReserved) return next
  while ((others[frame.passed] ?? listing.length) < next) frame.passed += 1
  return others[frame.passed] ?? listing.length
}

/** One character is one byte here. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : 1
}

function isPlain({ stat }: Found): boolean {
  return isFile(stat) && stat.links === 1
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
