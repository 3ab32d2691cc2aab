/** The decision: a policy, a caller and what is wanted give a verdict. Pure. */
import type { Action } from './action.ts'
import type { Identity } from './identity.ts'
import type { Right, RightsOf } from './policy.ts'
import type { TokenScope } from './scope.ts'

export interface Caller {
  readonly identity: Identity
  /** What the token was issued for; absent: no token, and no limit but the policy. */
  readonly scope?: TokenScope | undefined
}

export interface Wanted {
  readonly action: Action
  /** Absent for what is of no repository. */
  readonly repository?: string
}

export interface Rules {
  readonly rightsOf: RightsOf
  /** Whether there is any way to log in. */
  readonly hasLogin: boolean
  readonly letsAnyonePull: boolean
}

export type Verdict =
  | 'allow'
  /** Who asks is not known, and may become somebody who may. */
  | 'log in'
  /** Who asks may, and the token was issued for less. */
  | 'widen'
  | 'refuse'

/** What an action needs; of the registry as a whole: nothing of a repository. */
export const neededRights: Readonly<Record<Action, readonly Right[]>> = {
  none: [],
  list: [],
  pull: ['pull'],
  push: ['push'],
  undo: ['push', 'overwrite', 'delete'],
  delete: ['delete'],
}

/**
 * The same for a repository that exists and for one that does not: it is given before the storage is
 * looked at.
 */
export function decide(rules: Rules, caller: Caller, wanted: Wanted): Verdict {
  const { action, repository } = wanted
  if (action === 'none') return mayAsk(rules, caller) ? 'allow' : 'log in'
  if (action === 'list') return mayList(rules, caller)
  if (repository === undefined) throw new Error(`Action "${action}" is of a repository`)
  const needed = neededRights[action]
  const rights = rules.rightsOf(caller.identity, repository)
  if (!needed.every(right => rights.has(right))) return turnedAway(rules, caller)
  return needed.every(right => covers(caller, right, repository)) ? 'allow' : 'widen'
}

/** What the caller may do in the repository, by the policy and by the token. */
export function mayDo(
  { rightsOf }: Pick<Rules, 'rightsOf'>,
  caller: Caller,
  { right, repository }: { readonly right: Right; readonly repository: string },
): boolean {
  return rightsOf(caller.identity, repository).has(right) && covers(caller, right, repository)
}

/** The version check is where clients find out that there is a login, and try theirs. */
function mayAsk({ hasLogin }: Rules, { identity, scope }: Caller): boolean {
  return !hasLogin || identity.kind !== 'anonymous' || scope !== undefined
}

function mayList({ letsAnyonePull, hasLogin }: Rules, { identity, scope }: Caller): Verdict {
  const isAnonymous = identity.kind === 'anonymous'
  if (isAnonymous && !letsAnyonePull) return hasLogin ? 'log in' : 'refuse'
  if (scope === undefined) return 'allow'
  return scope.may('registry', 'catalog', '*') ? 'allow' : 'widen'
}

function turnedAway({ hasLogin }: Rules, { identity }: Caller): Verdict {
  return identity.kind === 'anonymous' && hasLogin ? 'log in' : 'refuse'
}

/** Tokens know no `overwrite`: who may push may, as far as the token goes. */
function covers({ scope }: Caller, right: Right, repository: string): boolean {
  const action = right === 'overwrite' ? 'push' : right
  return scope === undefined || scope.may('repository', repository, action)
}
