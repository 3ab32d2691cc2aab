/**
 * Descent: the way down and up a tree of any depth. A process can make one deeper than stacks,
 * paths and limits on descriptors go, so a level is a value, and not all of them are open.
 */
import { closeSync } from 'node:fs'
import { atCwd, type Name, resolve, syscalls } from '../native/syscalls.ts'

/** O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC: nothing but a directory is ever opened. */
const listing = 0o200000 | 0o400000 | 0o2000000

interface Level {
  /** Closed when many are open below. */
  fd: number | undefined
  readonly name: Name
  inode: bigint
  readonly pending: Name[]
}

/** Descriptors held at most; the way back up from a deeper level is "..". */
const mostOpen = 256

/** Disposing it closes what it opened. */
export class Descent implements Disposable {
  readonly #levels: Level[] = []

  /** Of the directory it is in. */
  get fd(): number {
    return this.#top.fd ?? this.#gone()
  }

  /** Of the names that were in the directory, one that was not asked for yet. */
  nextName(): Name | undefined {
    return this.#top.pending.pop()
  }

  /** A path only at first. Throws ENOENT, ENOTDIR and ELOOP for what is no directory (any more). */
  enter(name: Name, from = this.fd): void {
    const how = from === atCwd ? 0 : resolve.beneath
    const fd = syscalls().openat2(from, name, [listing, 0, how])
    const level: Level = { fd, name, inode: 0n, pending: [] }
    this.#levels.push(level)
    level.inode = syscalls().statx(fd, '').ino
    for (const entry of syscalls().readdir(fd)) level.pending.push(entry.name)
    const early = this.#levels.at(-mostOpen - 1)
    if (early?.fd === undefined) return
    closeSync(early.fd)
    early.fd = undefined
  }

  /**
   * Goes back up; the name of the directory that it was in. `undefined` in the first one. Throws
   * when the one above was moved meanwhile: ".." would lead out of the tree.
   */
  leave(): Name | undefined {
    const above = this.#levels.at(-2)
    if (above === undefined) return undefined
    above.fd ??= this.#reopen(above)
    const { fd, name } = this.#top
    this.#levels.pop()
    if (fd !== undefined) closeSync(fd)
    return name
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#levels) if (fd !== undefined) closeSync(fd)
  }

  get #top(): Level {
    return this.#levels.at(-1) ?? this.#gone()
  }

  #reopen({ inode }: Level): number {
    const fd = syscalls().openat2(this.fd, '..', [listing, 0, 0])
    if (syscalls().statx(fd, '').ino === inode) return fd
    closeSync(fd)
    return this.#gone()
  }

  #gone(): never {
    throw new MovedError('A directory was moved while its tree was walked')
  }
}

export class MovedError extends Error {}
