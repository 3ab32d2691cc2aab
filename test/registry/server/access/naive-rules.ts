/** The rules of docs/access.md once more, written to be read and not to be fast. */
import type { Identity } from '../../../../src/registry/server/access/identity.ts'
import type { Policy, Right, Subject } from '../../../../src/registry/server/access/policy.ts'

export type Answer = 'yes' | 401 | 403

/** What tokens are good for: lines `type:name:action`. */
export type TokenLines = readonly string[]

export interface Question {
  readonly policy: Policy
  readonly who: Identity
  readonly token: TokenLines | undefined
  readonly action: string
  readonly repository: string
}

export function naiveAnswer(question: Question): Answer {
  const { who, token, action } = question
  const isAnonymous = who.kind === 'anonymous'
  if (action === 'none') return isAnonymous && token === undefined ? 401 : 'yes'
  if (action === 'list') return naiveListing(question)
  const needs = action === 'undo' ? ['push', 'overwrite', 'delete'] : [action]
  const has: readonly string[] = naiveRights(question.policy, who, question.repository)
  if (needs.some(right => !has.includes(right))) return isAnonymous ? 401 : 403
  return needs.every(right => isCovered(question, right)) ? 'yes' : 401
}

function naiveListing({ policy, who, token }: Question): Answer {
  const isPublic = /"anyone"[^\]]*\],"rights":\[[^\]]*"pull"/.test(JSON.stringify(policy.entries))
  if (who.kind === 'anonymous' && !isPublic) return 401
  return token === undefined || token.includes('registry:catalog:*') ? 'yes' : 401
}

function isCovered({ token, repository }: Question, right: string): boolean {
  if (token === undefined) return true
  const word = right === 'overwrite' ? 'push' : right
  return [word, '*'].some(action => token.includes(`repository:${repository}:${action}`))
}

export function naiveRights(policy: Policy, who: Identity, repository: string): Right[] {
  if (policy.admins.some(subject => naiveIs(policy, subject, who))) {
    return ['pull', 'push', 'overwrite', 'delete']
  }
  for (const { repositories, grants } of policy.entries) {
    if (!repositories.some(pattern => naiveGlob(pattern, repository))) continue
    return grants
      .filter(({ to }) => to.some(subject => naiveIs(policy, subject, who)))
      .flatMap(({ rights }) => rights)
  }
  return []
}

function naiveIs(policy: Policy, subject: Subject, who: Identity): boolean {
  if (subject.kind === 'anyone') return true
  if (who.kind === 'anonymous') return false
  if (subject.kind === 'authenticated') return true
  if (subject.kind === 'user') return naiveGlob(subject.pattern, who.name)
  const groups = [...who.groups]
  for (const [group, members] of policy.groups) {
    for (const member of members) if (naiveGlob(member, who.name)) groups.push(group)
  }
  return groups.some(group => naiveGlob(subject.pattern, group))
}

/** As a regular expression, which backtracks; the patterns here are short. */
export function naiveGlob(pattern: string, text: string): boolean {
  const source = pattern.replace(/\*\*|[\s\S]/g, token => {
    if (token === '**') return '[\\s\\S]*'
    if (token === '*') return '[^/]*'
    if (token === '?') return '[^/]'
    return token.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  })
  return new RegExp(`^(?:${source})$`, 'u').test(text)
}
