/** An Access that can be replaced while requests are under way: each is decided by one, whole. */
import type { Access } from './access.ts'

export interface SwitchableAccess extends Access {
  /** Later requests are decided by `next`; returns the one before, for its owner to close. */
  use(next: Access): Access
}

export function createSwitchableAccess(first: Access): SwitchableAccess {
  let current = first
  return {
    admit: (client, request) => current.admit(client, request),
    issueToken: request => current.issueToken(request),
    use: next => {
      const before = current
      current = next
      return before
    },
  }
}
