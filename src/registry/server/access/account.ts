/** Somebody who has logged in. */
import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Identity } from './identity.ts'

export interface Account {
  readonly identity: Identity
  /**
   * Changes with the password or key. A token bears it, and ends with what it was issued for; absent
   * where there is nothing of ours that could change.
   */
  readonly stamp?: string
  /** Milliseconds since 1970, after which it is to be looked for again; absent: it is in a file. */
  readonly until?: number
}

/** Tells nothing of the secret: a hash of its salted hash. */
export function stampOf(secretHash: string): string {
  const known = stamps.get(secretHash)
  if (known !== undefined) return known
  const stamp = hash('sha256', secretHash, 'base64url').slice(0, 16)
  stamps.set(secretHash, stamp)
  return stamp
}

/** Every request with a token asks for one. */
const stamps = new LRUCache<string, string>({ max: 10_000 })
