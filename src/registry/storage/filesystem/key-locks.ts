/**
 * One holder per key at a time, among all processes that have the folder open: what makes a
 * conditional write one step.
 *
 * Within the process a mutex per key; between processes a stripe: flock(2) on one of a few files,
 * which a process holds while any of its holders is at a key that falls on it. The kernel takes the
 * lock back when the process ends, however it ends.
 */
import { hash } from 'node:crypto'
import { join } from 'node:path'
import { KeyedMutex } from '../keyed-mutex.ts'
import { Stripe } from './stripe.ts'

export class KeyLocks {
  readonly #folder: string
  readonly #mutex = new KeyedMutex()
  readonly #stripes = new Map<string, Stripe>()

  constructor(folder: string) {
    this.#folder = folder
  }

  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    return this.#mutex.run(key, () => this.#stripeOf(key).run(task))
  }

  #stripeOf(key: string): Stripe {
    const name = hash('sha256', key).slice(0, 2)
    const stripe = this.#stripes.get(name) ?? new Stripe(join(this.#folder, name))
    this.#stripes.set(name, stripe)
    return stripe
  }
}
