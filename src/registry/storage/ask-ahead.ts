/**
 * Two questions at once, where the second follows from the answer to the first: of a store that is far
 * they take half as long so.
 *
 * What the first answer was the last time is a guess at what it will be, and the second is asked by the
 * guess. It counts only when the first answer is the same as then, so nothing is served that was
 * removed or changed before the request came, by whichever replica.
 */
import { LRUCache } from 'lru-cache'
import type { ObjectStore, StoredObject } from './object-store.ts'

/** Small objects that lead to others, by their keys, as they were last read. */
export type Guesses = LRUCache<string, StoredObject>

const maxBytes = 8 * 1024 * 1024

/** What an entry takes beside its bytes, about. */
const entryBytes = 512

export function createGuesses(): Guesses {
  return new LRUCache({
    maxSize: maxBytes,
    maxEntrySize: 64 * 1024,
    sizeCalculation: ({ bytes }) => bytes.length + entryBytes,
  })
}

export interface Following<Next> {
  /** What the object leads to; `undefined`: nothing. */
  readonly next: (object: StoredObject) => Promise<Next | undefined>
  /** For what was asked by a guess that was wrong. */
  readonly drop?: (next: Next) => Promise<void>
}

export interface Asked {
  readonly objects: Pick<ObjectStore, 'get'>
  /** Absent where the store is near. */
  readonly guesses?: Guesses
}

/** What the object under the key leads to; `undefined` when there is none. */
export async function askAhead<Next>(
  { objects, guesses }: Asked,
  key: string,
  { next, drop }: Following<Next>,
): Promise<Next | undefined> {
  const guess = guesses?.get(key)
  // Its failure is no answer: it is asked again once the guess is known to be right.
  const early = guess === undefined ? undefined : next(guess).catch(() => undefined)
  let isUsed = false
  try {
    const object = await objects.get(key)
    if (object === undefined) {
      guesses?.delete(key)
      return undefined
    }
    if (object.etag !== guess?.etag) {
      guesses?.set(key, object)
      return await next(object)
    }
    const found = await early
    isUsed = found !== undefined
    return found ?? (await next(object))
  } finally {
    if (!isUsed) void early?.then(found => found && drop?.(found)).catch(() => {})
  }
}
