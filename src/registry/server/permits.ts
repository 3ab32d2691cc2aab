/** A fixed number of permits, given in the order they are asked for. */
import { OciError } from '../../oci/errors.ts'

export interface Permits {
  /** Waits for its turn; throws `unavailable` when it takes too long. Dispose to give it back. */
  acquire(): Promise<Disposable>
}

export interface PermitOptions {
  readonly count: number
  readonly waitMs: number
}

export function createPermits({ count, waitMs }: PermitOptions): Permits {
  const waiting: (() => void)[] = []
  let free = count
  const release = () => {
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
  }
  return {
    acquire: async () => {
      if (free > 0) free--
      else await turn(waiting, waitMs)
      return { [Symbol.dispose]: once(release) }
    },
  }
}

function turn(waiting: (() => void)[], waitMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const enter = () => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(enter), 1)
      reject(new OciError('unavailable', 'Too many large requests at once: try again later'))
    }, waitMs)
    waiting.push(enter)
  })
}

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (!done) action()
    done = true
  }
}
