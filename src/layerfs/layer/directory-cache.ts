/**
 * DirectoryCache: open descriptors of the directories that entries go into, so that most entries
 * cost no walk. Safe because nobody else writes to the tree; it must be told of every directory or
 * link that goes away.
 */
import { closeSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { resolve, syscalls } from '../native/syscalls.ts'
import { openAs } from './file-type.ts'
import { openInRoot } from './open-in-root.ts'
import { bytesOf, type SafePath } from './path-bytes.ts'

const capacity = 512

export class DirectoryCache implements Disposable {
  readonly #rootFd: number
  readonly #open = new Map<SafePath, number>()

  constructor(rootFd: number) {
    this.#rootFd = rootFd
  }

  /**
   * The directory at `path`, links in it followed inside the root; `undefined` when there is none.
   * The descriptor is the cache's: use it before the next call.
   */
  find(path: SafePath): number | undefined {
    if (path === '') return this.#rootFd
    const known = this.#open.get(path)
    if (known !== undefined) {
      // Moved to the end: what was used last is closed last.
      this.#open.delete(path)
      this.#open.set(path, known)
      return known
    }
    const fd = openUnlessMissing(() => openInRoot(this.#rootFd, path, openAs.directory))
    if (fd !== undefined) this.#remember(path, fd)
    return fd
  }

  #remember(path: SafePath, fd: number): void {
    this.#open.set(path, fd)
    if (this.#open.size <= capacity) return
    const [oldest] = this.#open
    if (oldest === undefined) return
    this.#open.delete(oldest[0])
    closeSync(oldest[1])
  }

  /**
   * A directory or link in `parent` went away: any path may lead elsewhere now, but that of the
   * directory it stood in.
   */
  forgetAllBut(parent: SafePath): void {
    for (const [path, fd] of this.#open) {
      if (path === parent) continue
      this.#open.delete(path)
      closeSync(fd)
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open.values()) closeSync(fd)
    this.#open.clear()
  }
}

/** `undefined` when `open` meets nothing, a file, or a link that leads nowhere. */
export function openUnlessMissing(open: () => number): number | undefined {
  try {
    return open()
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'ELOOP')) {
      return undefined
    }
    throw error
  }
}

/** The directory `name` itself, not what a link of that name points to. The caller closes it. */
export function findDirectoryAt(dirFd: number, name: string): number | undefined {
  return openUnlessMissing(() =>
    syscalls().openat2(dirFd, bytesOf(name), [openAs.directoryNoFollow, 0, resolve.beneath]),
  )
}
