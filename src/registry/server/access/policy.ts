/**
 * What an identity may do in a repository. Pure: no clock, no disk, no request.
 *
 * 1. The first entry whose patterns match the repository decides; what it does not grant is refused.
 * 2. Within it grants add up; there is nothing that takes a right away.
 * 3. No entry: nobody may do anything. An administrator may do everything, everywhere.
 */
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

const maxRemembered = 10_000

/** {@link rightsOf} that remembers: patterns are slower to match than a request is to answer. */
export function rememberRights(policy: Policy): RightsOf {
  const known = new Map<string, ReadonlySet<Right>>()
  return (identity, repository) => {
    const key = `${textOf(identity)} ${repository}`
    const found = known.get(key)
    if (found !== undefined) return found
    const rights = rightsOf(policy, identity, repository)
    // All at once: to keep account of who was asked for last costs each request more than this.
    if (known.size >= maxRemembered) known.clear()
    known.set(key, rights)
    return rights
  }
}

/** Of those who ask again, which is almost everybody. */
const texts = new WeakMap<Identity, string>()

/** Another for everybody whose rights may be others. It shows where it ends. */
function textOf(identity: Identity): string {
  const known = texts.get(identity)
  if (known !== undefined) return known
  const text = JSON.stringify([identity.kind, identity.name, identity.groups])
  texts.set(identity, text)
  return text
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
