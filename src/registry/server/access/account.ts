/** Somebody who has logged in. */
import { createHash } from 'node:crypto'
import type { Identity } from './identity.ts'

export interface Account {
  readonly identity: Identity
  /**
   * Changes with the password or key. A token bears it, and ends with what it was issued for; absent
   * where there is nothing of ours that could change.
   */
  readonly stamp?: string
}

/** Tells nothing of the secret: a hash of its salted hash. */
export function stampOf(hash: string): string {
  return createHash('sha256').update(hash).digest('base64url').slice(0, 16)
}
