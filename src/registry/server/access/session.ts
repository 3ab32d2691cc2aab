/** A request that was let in: who it is, and what else they may do. */
import type { Right } from './policy.ts'

export interface Session {
  /** For the history of tags and for logs; absent: anybody. */
  readonly name?: string | undefined
  may(right: Right, repository: string): boolean
}
