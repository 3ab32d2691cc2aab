/**
 * What an identity may do in a repository. Pure: no clock, no disk, no request.
 *
 * 1. The first entry whose patterns match the repository decides; what it does not grant is refused.
 * 2. Within it grants add up; there is nothing that takes a right away.
 * 3. No entry: nobody may do anything. An administrator may do everything, everywhere.
 */
import { LRUCache } from 'lru-cache'
import { matchesGlob } from '../../storage/glob.ts'
import type { Identity } from './identity.ts'

/** `push` creates, `overwrite` points a tag that exists at something else. */
export const allRights = ['pull', 'push', 'overwrite', 'delete'] as const

export type Right = (typeof allRights)[number]

export type Subject =
  /** With or without login. */
  | { readonly kind: 'anyone' }
  | { readonly kind: 'authenticated' }
  /** A pattern of names. */
  | { readonly kind: 'user'; readonly pattern: string }
  | { readonly kind: 'group'; readonly pattern: string }

export interface Grant {
  readonly to: readonly Subject[]
  readonly rights: readonly Right[]
}

export interface PolicyEntry {
  /** Patterns of repositories. */
  readonly repositories: readonly string[]
  readonly grants: readonly Grant[]
}

export interface Policy {
  readonly admins: readonly Subject[]
  /** Groups of the policy's own: patterns of names by the group's name. */
  readonly groups: ReadonlyMap<string, readonly string[]>
  readonly entries: readonly PolicyEntry[]
}

/** Where logging in is all that is asked for. */
export const everythingForUsers: Policy = {
  admins: [],
  groups: new Map(),
  entries: [
    { repositories: ['**'], grants: [{ to: [{ kind: 'authenticated' }], rights: allRights }] },
  ],
}

export function rightsOf(policy: Policy, identity: Identity, repository: string): Set<Right> {
  if (isAmong(policy, policy.admins, identity)) return new Set(allRights)
  const entry = policy.entries.find(({ repositories }) => matchesAny(repositories, repository))
  const grants = entry?.grants.filter(({ to }) => isAmong(policy, to, identity)) ?? []
  return new Set(grants.flatMap(({ rights }) => rights))
}

/** Whether anybody may pull something without login. */
export function letsAnyonePull({ entries }: Policy): boolean {
  return entries.some(({ grants }) =>
    grants.some(
      ({ to, rights }) => rights.includes('pull') && to.some(({ kind }) => kind === 'anyone'),
    ),
  )
}

export type RightsOf = (identity: Identity, repository: string) => ReadonlySet<Right>

/** {@link rightsOf} that remembers: patterns are slower to match than a request is to answer. */
export function rememberRights(policy: Policy): RightsOf {
  const known = new LRUCache<string, ReadonlySet<Right>>({ max: 10_000 })
  return (identity, repository) => {
    const key = JSON.stringify([identity.kind, identity.name, identity.groups, repository])
    const found = known.get(key)
    if (found !== undefined) return found
    const rights = rightsOf(policy, identity, repository)
    known.set(key, rights)
    return rights
  }
}

function isAmong(policy: Policy, subjects: readonly Subject[], identity: Identity): boolean {
  return subjects.some(subject => is(policy, subject, identity))
}

function is(policy: Policy, subject: Subject, identity: Identity): boolean {
  const isKnown = identity.kind !== 'anonymous'
  switch (subject.kind) {
    case 'anyone':
      return true
    case 'authenticated':
      return isKnown
    case 'user':
      return isKnown && matchesGlob(subject.pattern, identity.name)
    case 'group':
      return (
        isKnown && groupsOf(policy, identity).some(group => matchesGlob(subject.pattern, group))
      )
  }
}

function groupsOf({ groups }: Policy, { name, groups: own }: Identity): string[] {
  const ofPolicy = [...groups].filter(([, members]) => matchesAny(members, name))
  return [...own, ...ofPolicy.map(([group]) => group)]
}

function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some(pattern => matchesGlob(pattern, name))
}
