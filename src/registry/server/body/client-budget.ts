/** How much of the server one client may hold: who opens connections without end locks nobody out. */
import { ResourceError } from '../../storage/resource-error.ts'

export interface ClientBudget {
  /**
   * Counts one more of the client at the address until disposed. Throws `unavailable` of the client
   * when it has as many as it may.
   */
  enter(address: string | undefined): Disposable
}

/** `most` at a time for each address; 0: any number. */
export function createClientBudget(most: number): ClientBudget {
  const counts = new Map<string, number>()
  const leave = (address: string) => {
    const left = (counts.get(address) ?? 1) - 1
    if (left > 0) counts.set(address, left)
    else counts.delete(address)
  }
  return {
    enter: (address = '') => {
      const count = counts.get(address) ?? 0
      if (most > 0 && count >= most) throw tooMany(most)
      counts.set(address, count + 1)
      return { [Symbol.dispose]: () => leave(address) }
    },
  }
}

function tooMany(most: number): ResourceError {
  return new ResourceError(
    'unavailable client',
    `Cannot take more content at once: ${most} requests of this client are sending some already`,
  )
}
