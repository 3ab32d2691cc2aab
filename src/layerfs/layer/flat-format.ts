/**
 * FlatFormat: entries go into a tree that shows the layers below, so hiding is removing. The tree
 * is a plain directory, or an overlay whose kernel turns removals into whiteouts.
 */
import { closeSync } from 'node:fs'
import { syscalls } from '../native/syscalls.ts'
import { defaultBudgets, type TarEntry } from '../tar/entry.ts'
import { setXattrAt } from './attributes.ts'
import { openUnlessMissing } from './directory-cache.ts'
import { fileType, isDirectory, openAs } from './file-type.ts'
import { NameBudget } from './name-budget.ts'
import { openInRoot } from './open-in-root.ts'
import type { OverlayFormat } from './overlay-format.ts'
import { keepingTime } from './parent-directories.ts'
import { bytesOf, joinPath, nameOf, parentOf, type SafePath } from './path-bytes.ts'
import { openListing, removeTree } from './remove-tree.ts'
import type { Spot, TreeFormat } from './tree-format.ts'
import { findAt } from './walk-in-root.ts'

export interface FlatTree {
  readonly rootFd: number
  /** Whether the tree is an overlay, or plain. */
  readonly kind: 'overlay' | 'plain'
  readonly overlay: OverlayFormat
  /** The layer's own paths: a whiteout never takes those (row A3). */
  readonly own: RememberedPaths
}

export class FlatFormat implements TreeFormat {
  readonly keepsTimes = true
  readonly wantsEachFile = true
  readonly #tree: FlatTree

  constructor(tree: FlatTree) {
    this.#tree = tree
  }

  whiteout(path: SafePath): void {
    this.#inDirectory(parentOf(path), fd => this.#removeLower({ fd, name: nameOf(path), path }))
  }

  opaque(path: SafePath): void {
    this.#inDirectory(path, fd => this.#emptyOfLower({ fd, name: '.', path }))
  }

  onPlaced({ path }: Spot): void {
    this.#tree.own.add(path)
  }

  onLastEntry(): void {}
  onImplied(): void {}
  onReplacedByDirectory(): void {}
  onRemoved(): void {}
  onImpliedBelowLink(): void {}

  isContent(): boolean {
    return true
  }

  /** An overlay refuses device 0:0 and stores the marks of a nested whiteout escaped. */
  createNullDevice(spot: Spot, entry: TarEntry): void {
    if (this.#tree.kind === 'plain') {
      const mode = fileType.characterDevice | entry.mode
      syscalls().mknodat(spot.fd, bytesOf(spot.name), [mode, 0, 0])
      return
    }
    closeSync(syscalls().openat2(spot.fd, bytesOf(spot.name), [openAs.creating, 0, 0]))
    const prefix = this.#tree.overlay.xattrPrefix
    const mark = { name: bytesOf(`${prefix}whiteout`), value: bytesOf('y') }
    setXattrAt(spot.fd, spot.name, mark)
  }

  storedXattr(name: Buffer): Buffer | undefined {
    const text = name.toString('latin1')
    if (text === 'security.selinux' || text === 'system.nfs4_acl') return undefined
    // A plain tree may become a layer of an overlay later: its marks would be obeyed there.
    const isMark = text.startsWith(this.#tree.overlay.xattrPrefix)
    return isMark && this.#tree.kind === 'plain' ? undefined : name
  }

  #inDirectory(path: SafePath, act: (fd: number) => void): void {
    const fd = openUnlessMissing(() => openInRoot(this.#tree.rootFd, path, openAs.directory))
    if (fd === undefined) return
    try {
      keepingTime(fd, () => act(fd))
    } finally {
      closeSync(fd)
    }
  }

  #removeLower(spot: Spot): void {
    if (!this.#tree.own.has(spot.path)) {
      removeTree(spot.fd, spot.name)
      return
    }
    const stat = findAt(spot.fd, spot.name)
    if (stat !== undefined && isDirectory(stat)) this.#emptyOfLower(spot)
  }

  #emptyOfLower(spot: Spot): void {
    const fd = openListing(spot.fd, spot.name)
    try {
      for (const entry of syscalls().readdir(fd)) {
        const name = entry.name.toString('latin1')
        this.#removeLower({ fd, name, path: joinPath(spot.path, name) })
      }
    } finally {
      closeSync(fd)
    }
  }
}

/**
 * Remembers every path placed, and the directories above it. What an overlay's upper directory has
 * does not tell: the kernel puts directories there in which something was only removed.
 */
export class RememberedPaths {
  readonly #paths = new Set<SafePath>()
  readonly #names = new NameBudget(defaultBudgets.names)

  add(path: SafePath): void {
    if (!this.#paths.has(path)) this.#names.spend(path)
    for (let each = path; each !== '' && !this.#paths.has(each); each = parentOf(each)) {
      this.#paths.add(each)
    }
  }

  has(path: SafePath): boolean {
    return this.#paths.has(path)
  }
}
