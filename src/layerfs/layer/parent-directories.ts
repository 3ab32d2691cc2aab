/**
 * The directories that entries are placed in: opened, created where a tar left them out (row A11),
 * and given their times and default ACLs at the end.
 */
import { closeSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { syscalls, type Timestamp } from '../native/syscalls.ts'
import { DefaultAcls } from './default-acls.ts'
import { DirectoryCache, findDirectoryAt, openUnlessMissing } from './directory-cache.ts'
import { isSymlink, openAs } from './file-type.ts'
import type { NameBudget } from './name-budget.ts'
import { openInRoot } from './open-in-root.ts'
import { joinPath, parentOf, type SafePath } from './path-bytes.ts'
import { removeTree } from './remove-tree.ts'
import type { Spot, TreeFormat } from './tree-format.ts'
import { createDirectory, findAt } from './walk-in-root.ts'

export class ParentDirectories implements Disposable {
  readonly #rootFd: number
  readonly #format: TreeFormat
  readonly #cache: DirectoryCache
  readonly #names: NameBudget
  readonly #defaultAcls = new DefaultAcls()
  readonly #times = new Map<SafePath, Timestamp>()
  /** For each directory on the way to one in `#times`, the next ones. */
  readonly #below = new Map<SafePath, Set<SafePath>>()

  constructor(
    rootFd: number,
    { format, names }: { readonly format: TreeFormat; readonly names: NameBudget },
  ) {
    this.#rootFd = rootFd
    this.#format = format
    this.#names = names
    this.#cache = new DirectoryCache(rootFd)
  }

  find(path: SafePath): number | undefined {
    return this.#cache.find(path)
  }

  /** The directory at `path`, created if need be. Use it before the next call. */
  open(path: SafePath, time: Timestamp): number {
    const found = this.#cache.find(path) ?? this.#create(path, time)
    if (this.#format.keepsTimes && !this.#times.has(path)) {
      this.#defaultAcls.take(path, found)
      this.setTime(path, syscalls().statx(found, '').mtime)
    }
    return found
  }

  /** The time that the directory gets at the end. */
  setTime(path: SafePath, time: Timestamp): void {
    if (!this.#times.has(path)) {
      this.#names.spend(path)
      this.#link(path)
    }
    this.#times.set(path, time)
  }

  /** The default ACL that the directory gets at the end; `undefined`: none. */
  setDefaultAcl(path: SafePath, value: Buffer | undefined): void {
    this.#names.spendBytes(value?.length ?? 0)
    this.#defaultAcls.set(path, value)
  }

  #link(path: SafePath): void {
    for (let child = path; child !== ''; child = parentOf(child)) {
      const siblings = this.#below.get(parentOf(child))
      if (siblings?.has(child) === true) return
      if (siblings === undefined) this.#below.set(parentOf(child), new Set([child]))
      else siblings.add(child)
    }
  }

  /** `path` went away, or is another thing now. */
  forgetBelow(path: SafePath): void {
    this.#cache.forgetAllBut(parentOf(path))
    this.#below.get(parentOf(path))?.delete(path)
    // Not by looking at all: a layer may replace a million links beside a million directories.
    const gone = [path]
    for (let each = gone.pop(); each !== undefined; each = gone.pop()) {
      this.#times.delete(each)
      this.#defaultAcls.set(each, undefined)
      for (const child of this.#below.get(each) ?? []) gone.push(child)
      this.#below.delete(each)
    }
  }

  /** Times and default ACLs. Throws `invalid` for an ACL that is none. */
  restore(): void {
    this.#giveAclsBack()
    // Backwards: of two names for one directory the one used first knows its old time.
    for (const [path, time] of [...this.#times].reverse()) {
      const fd = this.#cache.find(path)
      if (fd !== undefined) syscalls().utimensat(fd, '', time)
    }
  }

  #giveAclsBack(): void {
    this.#defaultAcls.giveBack(path => this.#cache.find(path))
  }

  [Symbol.dispose](): void {
    try {
      // After a failure too: directories that were there before are left as they were.
      this.#giveAclsBack()
    } catch {
      // That failure is the one to tell of.
    }
    this.#cache[Symbol.dispose]()
  }

  #create(path: SafePath, time: Timestamp): number {
    let here = this.#rootFd
    let walked = '' as SafePath
    for (const name of path.split('/')) {
      walked = joinPath(walked, name)
      const next = this.#enter({ fd: here, name, path: walked }, time)
      if (here !== this.#rootFd) closeSync(here)
      here = next
    }
    closeSync(here)
    const created = this.#cache.find(path)
    if (created === undefined) throw new Error('A directory that was created is not there')
    return created
  }

  /** The directory at `spot`, which the caller closes. */
  #enter(spot: Spot, time: Timestamp): number {
    const existing = findDirectoryAt(spot.fd, spot.name)
    if (existing !== undefined) return existing
    const stat = findAt(spot.fd, spot.name)
    if (stat === undefined) return this.#imply(spot, time)
    if (isSymlink(stat)) {
      this.#format.onImpliedBelowLink()
      const target = openUnlessMissing(() => openInRoot(this.#rootFd, spot.path, openAs.directory))
      if (target !== undefined) return target
    }
    // A file, or a link that leads nowhere, gives way to the directory that entries need (A10).
    removeTree(spot.fd, spot.name)
    this.#format.onRemoved(spot.path, 'other')
    this.forgetBelow(spot.path)
    const fd = this.#imply(spot, time)
    this.#format.onReplacedByDirectory(spot)
    return fd
  }

  #imply(spot: Spot, time: Timestamp): number {
    if (this.#format.keepsTimes) this.#defaultAcls.take(parentOf(spot.path), spot.fd)
    createDirectory(spot.fd, spot.name, { mode: 0o755, uid: 0, gid: 0 })
    this.setTime(spot.path, time)
    this.#format.onPlaced(spot)
    this.#format.onImplied(spot.path, time)
    const fd = findDirectoryAt(spot.fd, spot.name)
    if (fd === undefined) throw new Error('A directory that was created is not there')
    return fd
  }
}

/** Runs `change` in a directory, which keeps its time. */
export function keepingTime(dirFd: number, change: () => void): void {
  const { mtime } = syscalls().statx(dirFd, '')
  change()
  try {
    syscalls().utimensat(dirFd, '', mtime)
  } catch (error) {
    // The change may have removed the directory itself.
    if (!hasCode(error, 'ENOENT')) throw error
  }
}
