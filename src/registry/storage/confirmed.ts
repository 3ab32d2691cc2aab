/**
 * What this process has seen to be complete: by key, the version of an object of which all that it
 * needs was there.
 *
 * A version that was removed never comes back. So one that was complete and is there now was there all
 * the time between, and what it needs was needed all that time: nobody collected it, in whatever
 * replica, and it need not be asked for again. Nothing is concluded without asking for the version.
 */
import { LRUCache } from 'lru-cache'
import type { StoredObject } from './object-store.ts'

/** Etags of complete versions, by the keys of their objects. */
export type Confirmed = LRUCache<string, string>

const maxVersions = 50_000

/** `max`: how many it keeps. */
export function createConfirmed(max = maxVersions): Confirmed {
  return new LRUCache({ max })
}

/** Whether the object is a version that was complete. */
export function isConfirmed(
  confirmed: Confirmed,
  key: string,
  { etag }: Pick<StoredObject, 'etag'>,
): boolean {
  return confirmed.get(key) === etag
}
