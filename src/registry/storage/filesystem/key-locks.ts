/**
 * One holder per key at a time, among all processes that have the folder open: what makes a
 * conditional write one step.
 *
 * Within the process a mutex per key; between processes flock(2) on one of a few files, which a
 * process holds as long as any of its holders is at a key that falls on it. The kernel takes the lock
 * back when the process ends, however it ends.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { acquireLock, type FileLock } from '../../../layerfs/content/file-lock.ts'
import { KeyedMutex } from '../keyed-mutex.ts'

interface Stripe {
  readonly lock: Promise<FileLock>
  holders: number
}

export class KeyLocks {
  readonly #folder: string
  readonly #mutex = new KeyedMutex()
  readonly #stripes = new Map<string, Stripe>()

  constructor(folder: string) {
    this.#folder = folder
  }

  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    return this.#mutex.run(key, async () => {
      const name = stripeOf(key)
      const stripe = this.#enter(name)
      try {
        await stripe.lock
        return await task()
      } finally {
        await this.#leave(name, stripe)
      }
    })
  }

  #enter(name: string): Stripe {
    const stripe = this.#stripes.get(name) ?? {
      lock: acquireLock(join(this.#folder, name), 'exclusive'),
      holders: 0,
    }
    stripe.holders++
    this.#stripes.set(name, stripe)
    return stripe
  }

  async #leave(name: string, stripe: Stripe): Promise<void> {
    stripe.holders--
    if (stripe.holders > 0) return
    this.#stripes.delete(name)
    const lock = await stripe.lock.catch(() => undefined)
    lock?.[Symbol.dispose]()
  }
}

function stripeOf(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 2)
}
