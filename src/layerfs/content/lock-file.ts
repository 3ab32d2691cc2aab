/**
 * flock(2) on one file, again and again: the file is opened when it is first needed and stays, so
 * taking the lock is one system call. Nobody may remove the file; locks on files that come and go are
 * `file-lock.ts`.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import type { LockMode } from './file-lock.ts'

const operations = { shared: 1, exclusive: 2, free: 8 } as const
const failInsteadOfWaiting = 4

export class LockFile implements Disposable {
  readonly #path: string
  #fd = -1
  #isTaken = false

  /** The file is made when missing, in a directory that must be there. */
  constructor(path: string) {
    this.#path = path
  }

  /** Whether we have the lock now. */
  tryTake(mode: LockMode): boolean {
    if (this.#fd === -1) {
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
      this.#fd = openSync(this.#path, flags, 0o600)
    }
    try {
      syscalls().flock(this.#fd, operations[mode] | failInsteadOfWaiting)
    } catch (error) {
      if (hasCode(error, 'EAGAIN')) return false
      throw error
    }
    this.#isTaken = true
    return true
  }

  /** By others; we must not have it. */
  isTaken(): boolean {
    if (!this.tryTake('exclusive')) return true
    this.free()
    return false
  }

  free(): void {
    if (this.#isTaken) syscalls().flock(this.#fd, operations.free)
    this.#isTaken = false
  }

  [Symbol.dispose](): void {
    if (this.#fd !== -1) closeSync(this.#fd)
    this.#fd = -1
    this.#isTaken = false
  }
}
