/** Removing what stands at a name, never through a link. */
import { closeSync, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { hasCode } from '../../oci/errors.ts'
import { resolve, syscalls } from '../native/syscalls.ts'
import { atRemoveDir, openAs } from './file-type.ts'
import { bytesOf, latin1Of } from './path-bytes.ts'

/** Removes `name` and all below it; nothing there is no error. */
export function removeTree(dirFd: number, name: string): void {
  const bytes = bytesOf(name)
  try {
    syscalls().unlinkat(dirFd, bytes, 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    if (!hasCode(error, 'EISDIR')) throw error
    emptyDirectory(dirFd, name)
    syscalls().unlinkat(dirFd, bytes, atRemoveDir)
  }
}

/**
 * As {@link removeTree}, for an absolute path of our own. Unlike Node's `rm` it removes trees whose
 * paths are longer than the kernel takes at once, which any image may contain.
 */
export function removePath(path: string): void {
  const parent = openSync(dirname(path), openAs.directory)
  try {
    removeTree(parent, latin1Of(basename(path)))
  } finally {
    closeSync(parent)
  }
}

/** Removes all below the directory `name`. */
export function emptyDirectory(dirFd: number, name: string): void {
  using descent = new Descent()
  descent.enter(name, dirFd)
  for (;;) {
    const child = descent.nextName()
    if (child !== undefined) removeOrEnter(descent, child)
    else if (!descent.leave()) return
  }
}

function removeOrEnter(descent: Descent, name: string): void {
  try {
    syscalls().unlinkat(descent.fd, bytesOf(name), 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    if (!hasCode(error, 'EISDIR')) throw error
    descent.enter(name)
  }
}

interface Level {
  /** Closed when many are open below. */
  fd: number | undefined
  readonly name: string
  inode: bigint
  readonly pending: string[]
}

/** Descriptors held at most; the way back up from a deeper level is "..". */
const mostOpen = 256

/** The way down a tree of any depth: a process can make one deeper than stacks and limits go. */
class Descent implements Disposable {
  readonly #levels: Level[] = []

  get fd(): number {
    return this.#top.fd ?? this.#gone()
  }

  /** Of the names that were in the directory, one that was not asked for yet. */
  nextName(): string | undefined {
    return this.#top.pending.pop()
  }

  enter(name: string, from = this.fd): void {
    this.#push(openListing(from, name), name)
    const early = this.#levels.at(-mostOpen - 1)
    if (early?.fd === undefined) return
    closeSync(early.fd)
    early.fd = undefined
  }

  /** Removes the directory, which is empty now; not the first one, which ends it. */
  leave(): boolean {
    const above = this.#levels.at(-2)
    if (above === undefined) return false
    above.fd ??= this.#reopen(above)
    const { fd, name } = this.#top
    this.#levels.pop()
    if (fd !== undefined) closeSync(fd)
    syscalls().unlinkat(above.fd, bytesOf(name), atRemoveDir)
    return true
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#levels) if (fd !== undefined) closeSync(fd)
  }

  get #top(): Level {
    return this.#levels.at(-1) ?? this.#gone()
  }

  #push(fd: number, name: string): void {
    const level: Level = { fd, name, inode: 0n, pending: [] }
    this.#levels.push(level)
    level.inode = syscalls().statx(fd, '').ino
    for (const entry of syscalls().readdir(fd)) level.pending.push(entry.name.toString('latin1'))
  }

  /** Throws when the directory was moved meanwhile: ".." would lead out of the tree. */
  #reopen({ inode }: Level): number {
    const fd = syscalls().openat2(this.fd, '..', [openAs.listing, 0, 0])
    if (syscalls().statx(fd, '').ino === inode) return fd
    closeSync(fd)
    return this.#gone()
  }

  #gone(): never {
    throw new Error('A directory was moved while it was being removed')
  }
}

/** The directory `name`, to be listed. The caller closes it. */
export function openListing(dirFd: number, name: string): number {
  return syscalls().openat2(dirFd, bytesOf(name), [openAs.listing, 0, resolve.beneath])
}
