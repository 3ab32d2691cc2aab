/**
 * The lock that a process holds on one file for all its tasks that need it, against other processes.
 *
 *   free ──first task──► locking ──► held ──last task──► free
 *                                     └──after a while──► ending: who comes now waits for the next
 *
 * flock(2) has no queue, so a busy process would never let another in: it takes the lock again before
 * the other looks. Who waits therefore says so, with a shared lock on a second file, and who has had
 * the lock for a while looks there and steps back.
 *
 * A file is open only while its lock is held: with all stripes kept open a busy process would have
 * hundreds fewer for its clients.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type FileLock, tryAcquireLock } from '../../../layerfs/content/file-lock.ts'

/** After which others are let in. */
const tenureMs = 20

/** Between two looks of who waits; who steps back does it for long enough that all have looked. */
const lookMs = { first: 0.5, longest: 4 }

interface Hold {
  /** Settled when the lock is ours, or cannot be had. */
  readonly locked: Promise<void>
  readonly ended: Promise<void>
  readonly end: () => void
  holders: number
}

export class Stripe {
  readonly #path: string
  readonly #queue: string
  #lock: FileLock | undefined
  #hold: Hold | undefined
  /** Since when we have had it, short breaks included. */
  #since = 0
  #freeSince = 0

  constructor(path: string) {
    this.#path = path
    this.#queue = `${path}.queue`
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    const hold = this.#enter()
    try {
      await hold.locked
      return await task()
    } finally {
      this.#leave(hold)
    }
  }

  #enter(): Hold {
    const current = this.#hold
    const hold = current === undefined || this.#isLong() ? this.#next(current) : current
    this.#hold = hold
    hold.holders++
    return hold
  }

  #next(current: Hold | undefined): Hold {
    const { promise: ended, resolve: end } = promiseWithResolvers()
    const locked = (current?.ended ?? Promise.resolve()).then(() => this.#acquire())
    return { locked, ended, end, holders: 0 }
  }

  #leave(hold: Hold): void {
    hold.holders--
    if (hold.holders > 0) return
    this.#lock?.[Symbol.dispose]()
    this.#lock = undefined
    this.#freeSince = performance.now()
    if (this.#hold === hold) this.#hold = undefined
    hold.end()
  }

  async #acquire(): Promise<void> {
    const isBreak = performance.now() - this.#freeSince > lookMs.longest
    if (isBreak) this.#since = 0
    if (this.#isLong()) {
      if (this.#isAwaited()) await pause(2 * lookMs.longest)
      this.#since = 0
    }
    this.#lock = tryAcquireLock(this.#path, 'exclusive') ?? (await this.#wait())
    if (this.#since === 0) this.#since = performance.now()
  }

  async #wait(): Promise<FileLock> {
    let waiting: FileLock | undefined
    try {
      for (let ms = lookMs.first; ; ms = Math.min(2 * ms, lookMs.longest)) {
        waiting ??= tryAcquireLock(this.#queue, 'shared')
        // A random part keeps those who wait from looking in step.
        await pause(ms * (0.5 + Math.random() / 2))
        const lock = tryAcquireLock(this.#path, 'exclusive')
        if (lock !== undefined) return lock
      }
    } finally {
      waiting?.[Symbol.dispose]()
    }
  }

  /** By other processes. */
  #isAwaited(): boolean {
    using alone = tryAcquireLock(this.#queue, 'exclusive')
    return alone === undefined
  }

  #isLong(): boolean {
    return this.#since > 0 && performance.now() - this.#since > tenureMs
  }
}

/** `Promise.withResolvers` is of Node 22. */
function promiseWithResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
