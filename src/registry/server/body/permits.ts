/** A fixed number of permits, given in the order they are asked for. */
import { OciError } from '../../../oci/errors.ts'

export interface Permits {
  /** Waits for its turn; throws `unavailable` when none comes to its end for too long. Dispose to give it back. */
  acquire(): Promise<Disposable>
}

export interface PermitOptions {
  readonly count: number
  /** For how long no permit may come back: while some do, a queue of any length gets its turn. */
  readonly waitMs: number
}

export function createPermits({ count, waitMs }: PermitOptions): Permits {
  const waiting: (() => void)[] = []
  let free = count
  let releasedAt = 0
  const release = () => {
    releasedAt = performance.now()
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
  }
  const turn = () =>
    new Promise<void>((resolve, reject) => {
      const enter = () => {
        clearTimeout(timer)
        resolve()
      }
      const look = () => {
        const leftMs = releasedAt + waitMs - performance.now()
        if (leftMs > 0) {
          timer = setTimeout(look, leftMs)
          return
        }
        waiting.splice(waiting.indexOf(enter), 1)
        reject(new OciError('unavailable', 'Too many large requests at once: try again later'))
      }
      let timer = setTimeout(look, waitMs)
      waiting.push(enter)
    })
  return {
    acquire: async () => {
      if (free > 0) free--
      else await turn()
      return { [Symbol.dispose]: once(release) }
    },
  }
}

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (!done) action()
    done = true
  }
}
