/**
 * LazyDirectory: a directory that is made when something goes into it, after those above it; of a
 * tree of any depth, in no deeper calls.
 */
import { closeSync } from 'node:fs'

export class LazyDirectory {
  readonly #parent: LazyDirectory | undefined
  readonly #make: (parentFd: number) => number
  #fd: number | undefined

  /** `make` answers a descriptor of it. */
  constructor(parent: LazyDirectory | undefined, make: (parentFd: number) => number) {
    this.#parent = parent
    this.#make = make
  }

  /** One that is there; the descriptor stays the caller's. */
  static of(fd: number): LazyDirectory {
    const directory = new LazyDirectory(undefined, () => fd)
    directory.#fd = fd
    return directory
  }

  open(): number {
    const missing: LazyDirectory[] = []
    let each: LazyDirectory = this
    while (each.#fd === undefined && each.#parent !== undefined) {
      missing.push(each)
      each = each.#parent
    }
    let fd = each.#fd ?? -1
    for (const next of missing.reverse()) {
      fd = next.#make(fd)
      next.#fd = fd
    }
    return fd
  }

  /** Once everything is in it: `end` and closed, if it was made. */
  finish(end: (fd: number) => void): void {
    if (this.#fd === undefined || this.#parent === undefined) return
    const fd = this.#fd
    this.#fd = undefined
    try {
      end(fd)
    } finally {
      closeSync(fd)
    }
  }
}
