/**
 * Who may do what. One question per request, asked before the handler runs and with the same parsed
 * endpoint that the handler gets; and one per repository that a mount or the catalog would show.
 */
import type { Action } from './routes.ts'

export interface AccessRequest {
  readonly action: Action
  /** Absent for what is of no repository. */
  readonly repository?: string
  /** A request header by its lower-case name. */
  readonly header: (name: string) => string | undefined
}

export interface Access {
  /** Throws `unauthenticated` or `denied`. */
  check(request: AccessRequest): Promise<void>
}

/** Everybody may do everything. */
export const openAccess: Access = { check: async () => {} }
