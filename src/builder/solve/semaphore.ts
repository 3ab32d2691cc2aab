/**
 * Semaphore: at most so many at once, first come first served.
 */

export interface Semaphore {
  /** Waits for a slot; rejects with the signal's reason. Disposing the slot gives it back. */
  acquire(signal?: AbortSignal): Promise<Disposable>
}

export function semaphore(slots: number): Semaphore {
  let free = slots
  const waiting: (() => void)[] = []

  function release(): void {
    const next = waiting.shift()
    if (next === undefined) free += 1
    else next()
  }

  function slot(): Disposable {
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (held) release()
        held = false
      },
    }
  }

  return {
    acquire: signal =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(signal.reason)
        if (free > 0) {
          free -= 1
          return resolve(slot())
        }
        const grant = () => {
          signal?.removeEventListener('abort', abandon)
          resolve(slot())
        }
        const abandon = () => {
          waiting.splice(waiting.indexOf(grant), 1)
          reject(signal?.reason)
        }
        waiting.push(grant)
        signal?.addEventListener('abort', abandon, { once: true })
      }),
  }
}
