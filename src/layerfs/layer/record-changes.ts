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
    new Recorder(baseline).level({
      path: rootPath,
      treeFd,
      lowerFd: below?.fd,
      isCopied: baseline !== undefined,
      place: { open: () => upperFd, finish: () => {} },
    })
    inheritAttributes(treeFd, upperFd)
  } finally {
    closeSync(treeFd)
    closeSync(upperFd)
  }
}

/** A directory of the layer, made when something goes into it. */
interface Place {
  open(): number
  finish(): void
}

interface Level {
  readonly path: SafePath
  readonly treeFd: number
  readonly lowerFd: number | undefined
  /** The directory is the one that was copied there. */
  readonly isCopied: boolean
  readonly place: Place
}

class Recorder {
  readonly #baseline: Baseline | undefined

  constructor(baseline: Baseline | undefined) {
    this.#baseline = baseline
  }

  level(level: Level): void {
    const names = namesIn(level.treeFd)
    for (const name of names) this.#entry(level, name)
    if (level.lowerFd === undefined) return
    const kept = new Set(names)
    for (const name of namesIn(level.lowerFd)) {
      if (!kept.has(name)) whiteout(level.place.open(), name)
    }
  }

  #entry(level: Level, name: string): void {
    const found = foundAt(level.treeFd, name)
    // A socket lives as long as the process that made it.
    if (found === undefined || (found.stat.mode & typeMask) === fileType.socket) return
    const lower = level.lowerFd === undefined ? undefined : foundAt(level.lowerFd, name)
    if (isDirectory(found.stat)) {
      this.#directory(level, found, lower)
    } else if (lower === undefined || !this.#isAsBefore(level, found, lower)) {
      link(found, level.place.open())
    }
  }

  #isAsBefore({ isCopied }: Level, found: Found, lower: Found): boolean {
    if (isCopied && this.#baseline?.isUntouched(found.stat) === true) return true
    return found.stat.links === 1 && isUnchanged(found, lower)
  }

  #directory(level: Level, found: Found, lower: Found | undefined): void {
    const path = joinPath(level.path, found.name)
    const hasLower = lower !== undefined && isDirectory(lower.stat)
    const treeFd = findDirectoryAt(found.fd, found.name)
    if (treeFd === undefined) return
    const lowerFd = hasLower ? findDirectoryAt(lower.fd, lower.name) : undefined
    const place = newPlace(level.place, { name: found.name, treeFd })
    const isCopied = level.isCopied && this.#baseline?.hasDirectory(path, found.stat) === true
    try {
      if (!hasLower || !isUnchanged(found, lower)) place.open()
      this.level({ path, treeFd, lowerFd, isCopied, place })
    } finally {
      place.finish()
      closeSync(treeFd)
      if (lowerFd !== undefined) closeSync(lowerFd)
    }
  }
}

function newPlace(parent: Place, { name, treeFd }: { name: string; treeFd: number }): Place {
  let opened: number | undefined
  return {
    open: () => {
      opened ??= makeDirectory(parent.open(), name)
      return opened
    },
    finish: () => {
      if (opened === undefined) return
      inheritAttributes(treeFd, opened)
      closeSync(opened)
    },
  }
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

function whiteout(fd: number, name: string): void {
  syscalls().mknodat(fd, bytesOf(name), [fileType.characterDevice, 0, 0])
}
