/**
 * CopiedChanges: what the copy of a directory would change, told without making it. For what most
 * copies are: a tree of directories, links and files of one name, to where nothing is yet. All else is
 * {@link NotPlain}.
 *
 * The changes are those that a diff would find of the copy (copy-tree.ts, diff-walk.ts), in its order.
 */
import { closeSync } from 'node:fs'
import { type Listing, listingOf } from '../native/listing.ts'
import type { Timestamp } from '../native/syscalls.ts'
import { type EncodedChange, NotPlain } from './change-encoder.ts'
import type { Found } from './compare-files.ts'
import type { CopyEnd } from './copy.ts'
import type { CopyFilter, CopyOptions } from './copy-options.ts'
import { foundIn, namesIn } from './directory-entries.ts'
import { isDirectory, isSymlink, openAs } from './file-type.ts'
import { maxDepth } from './max-depth.ts'
import { whiteoutPrefix } from './overlay-format.ts'
import { bytesOf, joinPath, rootPath, type SafePath, safePath } from './path-bytes.ts'
import { openListing } from './remove-tree.ts'
import { findAt, openDirectoryAt } from './walk-in-root.ts'

export interface PlainCopy {
  readonly from: CopyEnd
  /** In the filesystem as it is. */
  readonly to: CopyEnd
  readonly owner: NonNullable<CopyOptions['owner']>
  /** Absent: all is taken. */
  readonly filter?: CopyFilter
  /** How a directory below the source, empty for itself, looked a moment ago, if anybody knows. */
  readonly lookOf?: (path: Uint8Array) => Listing | undefined
  /** Of the directories that are made above what is copied. */
  readonly time: Timestamp
}

/** Throws {@link NotPlain}, and the kernel's errors. */
export function* copiedChanges(copy: PlainCopy): Generator<EncodedChange> {
  const opened: number[] = []
  try {
    const unsaid = wayTo(copy, opened)
    const top = copy.from.root.open(copy.from.path, openAs.directory)
    opened.push(top)
    yield* new SourceWalk(copy, unsaid).from(top)
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

/**
 * The directories down to the destination. Those that are there need no saying while nothing is
 * copied; they are left open in `opened`.
 */
function wayTo({ to, owner, time }: PlainCopy, opened: number[]): EncodedChange[] {
  const way: EncodedChange[] = []
  let here = to.root.fd
  let path = rootPath
  let isMade = false
  for (const name of namesOn(safePath(to.path))) {
    path = joinPath(path, name)
    const stat = isMade ? undefined : findAt(here, name)
    if (stat === undefined) {
      // What is made in a directory gives it a new time.
      if (!isMade) touch(way, time)
      isMade = true
      way.push(newDirectory(path, owner, time))
      continue
    }
    if (!isDirectory(stat)) throw new NotPlain()
    way.push({ kind: 'content', path, found: { fd: here, name, stat } })
    here = openDirectoryAt(here, name)
    opened.push(here)
  }
  if (!isMade && namesIn(here).length > 0) throw new NotPlain()
  return way
}

function namesOn(path: SafePath): string[] {
  return path === rootPath ? [] : path.split('/')
}

function touch(way: EncodedChange[], time: Timestamp): void {
  const last = way.pop()
  if (last?.kind !== 'content') return
  const { found } = last
  way.push({ ...last, found: { ...found, stat: { ...found.stat, mtime: time } } })
}

function newDirectory(
  path: SafePath,
  { uid, gid }: PlainCopy['owner'],
  { seconds }: Timestamp,
): EncodedChange {
  return {
    kind: 'made',
    entry: {
      type: 'directory',
      path: bytesOf(`${path}/`),
      linkPath: Buffer.alloc(0),
      mode: 0o755,
      uid,
      gid,
      size: 0,
      mtime: { seconds, nanoseconds: 0 },
      devMajor: 0,
      devMinor: 0,
      xattrs: [],
    },
  }
}

/** A directory of the source that is being walked. */
interface Frame {
  readonly fd: number
  readonly listing: Listing
  readonly others: Uint32Array
  /** How many of them stand before `next`. */
  passed: number
  /** Entry by entry from here on. */
  next: number
  /** Below the source. */
  readonly path: SafePath
  /** The directory itself, where nothing in it was wanted yet. */
  readonly unsaid: EncodedChange | undefined
}

class SourceWalk {
  readonly #destination: SafePath
  readonly #owner: PlainCopy['owner']
  readonly #filter: CopyFilter | undefined
  readonly #lookOf: PlainCopy['lookOf']
  readonly #frames: Frame[] = []
  /** Directories that need saying once something in them is said. */
  readonly #unsaid: EncodedChange[]

  constructor({ to, owner, filter, lookOf }: PlainCopy, unsaid: EncodedChange[]) {
    this.#destination = safePath(to.path)
    this.#owner = owner
    this.#filter = filter
    this.#lookOf = lookOf
    this.#unsaid = unsaid
  }

  *from(top: number): Generator<EncodedChange> {
    try {
      if (this.#unsaid.some(({ kind }) => kind === 'made')) yield* this.#unsaid.splice(0)
      this.#enter(top, rootPath)
      for (let frame = this.#frames.at(-1); frame !== undefined; frame = this.#frames.at(-1)) {
        const { listing, next: start } = frame
        const end = runEnd(frame)
        frame.next = Math.max(end, start + 1)
        if (start === listing.length) this.#leave()
        else if (end > start) yield* this.#files(frame, start, end)
        else yield* this.#entry(frame, start)
      }
    } finally {
      for (const { fd } of this.#frames) closeSync(fd)
    }
  }

  #enter(directoryFd: number, path: SafePath, unsaid?: EncodedChange): void {
    const fd = openListing(directoryFd, '.')
    const frame = { fd, path, passed: 0, next: 0, unsaid }
    try {
      const listing = (this.#lookOf?.(bytesOf(path)) ?? listingOf(fd)).ownedBy(this.#owner)
      // A layer has names like these for what it hides.
      if (listing.bytes.includes(whiteoutPrefix)) throw new NotPlain()
      this.#frames.push({ ...frame, listing, others: listing.others })
    } catch (error) {
      closeSync(fd)
      throw error
    }
    const depth = this.#frames.length + namesOn(this.#destination).length
    if (depth > maxDepth) throw new NotPlain()
  }

  #leave(): void {
    const frame = this.#frames.pop()
    if (frame === undefined) return
    if (frame.unsaid !== undefined && this.#unsaid.at(-1) === frame.unsaid) this.#unsaid.pop()
    closeSync(frame.fd)
  }

  *#files(frame: Frame, start: number, end: number): Generator<EncodedChange> {
    if (this.#filter === undefined) return yield* this.#run(frame, start, end)
    for (let from = start; from < end; ) {
      let to = from
      while (to < end && this.#isKept(frame, to)) to += 1
      if (to > from) yield* this.#run(frame, from, to)
      from = to + 1
    }
  }

  #isKept({ path, listing }: Frame, index: number): boolean {
    return this.#decide(joinPath(path, listing.latin1(index)), 'other') === 'keep'
  }

  *#run({ path, fd, listing }: Frame, start: number, end: number): Generator<EncodedChange> {
    yield* this.#unsaid.splice(0)
    yield { kind: 'files', path: this.#targetOf(path), fd, listing, start, end }
  }

  *#entry({ path, fd, listing }: Frame, index: number): Generator<EncodedChange> {
    const found = foundIn(fd, listing, index)
    const below = joinPath(path, found.name)
    const kind = isDirectory(found.stat) ? 'directory' : 'other'
    const decision = this.#decide(below, kind)
    if (decision === 'drop') return
    const change: EncodedChange = { kind: 'content', path: this.#targetOf(below), found }
    if (kind === 'directory') return yield* this.#directory(found, change, { below, decision })
    if (decision !== 'keep') return
    if (!isSymlink(found.stat)) throw new NotPlain()
    yield* this.#unsaid.splice(0)
    yield change
  }

  *#directory(
    { fd, name }: Found,
    change: EncodedChange,
    { below, decision }: { readonly below: SafePath; readonly decision: 'keep' | 'descend' },
  ): Generator<EncodedChange> {
    this.#unsaid.push(change)
    if (decision === 'keep') yield* this.#unsaid.splice(0)
    const directoryFd = openDirectoryAt(fd, name)
    try {
      this.#enter(directoryFd, below, decision === 'keep' ? undefined : change)
    } finally {
      closeSync(directoryFd)
    }
  }

  #decide(path: SafePath, kind: 'directory' | 'other'): ReturnType<CopyFilter> {
    return this.#filter?.(bytesOf(path).toString('utf8'), kind) ?? 'keep'
  }

  #targetOf(path: SafePath): SafePath {
    const [above, below] = [this.#destination, path]
    return below === rootPath ? above : joinPath(above, below)
  }
}

/** Up to where files of one name follow each other; nowhere: `next`. */
function runEnd(frame: Frame): number {
  const { listing, next, others } = frame
  while ((others[frame.passed] ?? listing.length) < next) frame.passed += 1
  return others[frame.passed] ?? listing.length
}
