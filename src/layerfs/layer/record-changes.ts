/**
 * What was written to a copied tree, brought into the layer's directory as overlayfs would have left
 * it there: changed files, directories on the way to them, a whiteout for all that is gone.
 */
import { closeSync, existsSync, openSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import { inheritAttributes } from './attributes.ts'
import { type Found, isUnchanged } from './compare-files.ts'
import { treeOf } from './copied-tree.ts'
import { type Baseline, readBaseline } from './copy-baseline.ts'
import { findDirectoryAt } from './directory-cache.ts'
import { foundAt, namesIn } from './directory-entries.ts'
import { fileType, isDirectory, openAs, typeMask } from './file-type.ts'
import { LazyDirectory } from './lazy-directory.ts'
import { makeWhiteout } from './overlay-format.ts'
import { bytesOf, joinPath, rootPath, type SafePath } from './path-bytes.ts'
import { emptyDirectory } from './remove-tree.ts'
import { openRoot } from './rootfs.ts'

export interface RecordedLayer {
  readonly upper: string
  /** **Top first.** */
  readonly lower: readonly string[]
}

/** Nothing where no tree was made of the layer: then it was written to itself, or is an overlay's. */
export function recordChanges({ upper, lower }: RecordedLayer): void {
  const tree = treeOf(upper)
  if (!existsSync(tree)) return
  const baseline = readBaseline(upper)
  using below = lower.length > 0 ? openRoot({ kind: 'overlay', lower }) : undefined
  const [treeFd, upperFd] = [openSync(tree, openAs.directory), openSync(upper, openAs.directory)]
  try {
    emptyDirectory(upperFd, '.')
    new Recorder(baseline).record({
      path: rootPath,
      treeFd,
      lowerFd: below?.fd,
      isCopied: baseline !== undefined,
      place: LazyDirectory.of(upperFd),
    })
    inheritAttributes(treeFd, upperFd)
  } finally {
    closeSync(treeFd)
    closeSync(upperFd)
  }
}

/** A directory that was written to, and what is not looked at yet of it. */
interface Frame {
  readonly path: SafePath
  readonly treeFd: number
  readonly lowerFd: number | undefined
  /** The directory is the one that was copied there. */
  readonly isCopied: boolean
  readonly place: LazyDirectory
  readonly names: string[]
}

class Recorder {
  readonly #baseline: Baseline | undefined

  constructor(baseline: Baseline | undefined) {
    this.#baseline = baseline
  }

  /** No deeper in calls than the tree is deep in directories. */
  record(top: Omit<Frame, 'names'>): void {
    const frames = [this.#enter(top)]
    try {
      for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
        const name = frame.names.pop()
        if (name === undefined) {
          frames.pop()
          if (frames.length > 0) leave(frame)
          continue
        }
        const inner = this.#entry(frame, name)
        if (inner !== undefined) frames.push(inner)
      }
    } finally {
      for (const frame of frames.slice(1).reverse()) leave(frame)
    }
  }

  /** What is gone gets its whiteout at once. */
  #enter(directory: Omit<Frame, 'names'>): Frame {
    const { treeFd, lowerFd, place } = directory
    const names = namesIn(treeFd)
    const kept = new Set(names)
    for (const name of lowerFd === undefined ? [] : namesIn(lowerFd)) {
      if (!kept.has(name)) makeWhiteout(place.open(), name)
    }
    return { ...directory, names: names.reverse() }
  }

  /** Answers the directory that is to be gone into. */
  #entry(frame: Frame, name: string): Frame | undefined {
    const found = foundAt(frame.treeFd, name)
    // A socket lives as long as the process that made it.
    if (found === undefined || (found.stat.mode & typeMask) === fileType.socket) return undefined
    const lower = frame.lowerFd === undefined ? undefined : foundAt(frame.lowerFd, name)
    if (isDirectory(found.stat)) return this.#directory(frame, found, lower)
    if (lower === undefined || !this.#isAsBefore(frame, found, lower)) {
      link(found, frame.place.open())
    }
    return undefined
  }

  #isAsBefore({ isCopied }: Frame, found: Found, lower: Found): boolean {
    if (isCopied && this.#baseline?.isUntouched(found.stat) === true) return true
    return found.stat.links === 1 && isUnchanged(found, lower)
  }

  #directory(frame: Frame, found: Found, lower: Found | undefined): Frame | undefined {
    const path = joinPath(frame.path, found.name)
    const hasLower = lower !== undefined && isDirectory(lower.stat)
    const treeFd = findDirectoryAt(found.fd, found.name)
    if (treeFd === undefined) return undefined
    const lowerFd = hasLower ? findDirectoryAt(lower.fd, lower.name) : undefined
    const place = new LazyDirectory(frame.place, parent => makeDirectory(parent, found.name))
    const isCopied = frame.isCopied && this.#baseline?.hasDirectory(path, found.stat) === true
    const directory = { path, treeFd, lowerFd, isCopied, place }
    try {
      if (!hasLower || !isUnchanged(found, lower)) place.open()
      return this.#enter(directory)
    } catch (error) {
      leave(directory)
      throw error
    }
  }
}

function leave({ treeFd, lowerFd, place }: Omit<Frame, 'names'>): void {
  place.finish(fd => inheritAttributes(treeFd, fd))
  closeSync(treeFd)
  if (lowerFd !== undefined) closeSync(lowerFd)
}

function makeDirectory(parentFd: number, name: string): number {
  syscalls().mkdirat(parentFd, bytesOf(name), 0o700)
  return syscalls().openat2(parentFd, bytesOf(name), [openAs.directoryNoFollow, 0, 0])
}

function link({ fd, name }: Found, toFd: number): void {
  try {
    syscalls().linkat([fd, bytesOf(name)], [toFd, bytesOf(name)], 0)
  } catch (error) {
    // It vanished meanwhile: a container that runs is looked at.
    if (!hasCode(error, 'ENOENT')) throw error
  }
}
