/** The decision, whole: every identity, repository and action, by two implementations of the rules. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decide, type Verdict } from '../../../../src/registry/server/access/decide.ts'
import { anonymous, type Identity } from '../../../../src/registry/server/access/identity.ts'
import {
  allRights,
  letsAnyonePull,
  type Policy,
  rememberRights,
  rightsOf,
} from '../../../../src/registry/server/access/policy.ts'
import { parseScopes, scopeOf } from '../../../../src/registry/server/access/scope.ts'
import { routes } from '../../../../src/registry/server/routes.ts'
import { type Answer, naiveAnswer, naiveRights } from './naive-rules.ts'

const repositories = ['a', 'a/b', 'a/b/c', 'ab', 'a-b', 'team/x', 'public/x']
const identities: readonly Identity[] = [
  anonymous,
  { kind: 'user', name: 'alice', groups: [] },
  { kind: 'user', name: 'bob', groups: ['dev'] },
  { kind: 'robot', name: 'robot+ci', groups: ['ci'] },
  { kind: 'external', name: 'github:repo:acme/app', groups: ['github:owner:acme'] },
  { kind: 'certificate', name: 'cert:host.example', groups: [] },
]

const repositoryPattern = fc.constantFrom('**', '*', 'a', 'a/*', 'a/**', 'a?b', 'team/**', '*/x')
const name = fc.constantFrom('alice', 'bob', 'robot+*', 'github:repo:acme/*', '*', '**', 'cert:**')
const subject = fc.oneof(
  fc.constant({ kind: 'anyone' } as const),
  fc.constant({ kind: 'authenticated' } as const),
  name.map(pattern => ({ kind: 'user', pattern }) as const),
  fc
    .constantFrom('dev', 'ci', 'own', 'github:owner:*', '*')
    .map(pattern => ({ kind: 'group', pattern }) as const),
)
const grant = fc.record({
  to: fc.array(subject, { minLength: 1, maxLength: 2 }),
  rights: fc.subarray([...allRights]),
})
const policy: fc.Arbitrary<Policy> = fc.record({
  admins: fc
    .array(subject, { maxLength: 1 })
    .map(all => all.filter(({ kind }) => kind !== 'anyone')),
  groups: fc.array(name, { maxLength: 2 }).map(members => new Map([['own', members]])),
  entries: fc.array(
    fc.record({
      repositories: fc.array(repositoryPattern, { minLength: 1, maxLength: 2 }),
      grants: fc.array(grant, { maxLength: 3 }),
    }),
    { maxLength: 3 },
  ),
})
const tokenLine = fc.oneof(
  fc.constant('registry:catalog:*'),
  fc
    .tuple(
      fc.constantFrom(...repositories, '*', '**'),
      fc.constantFrom('pull', 'push', 'delete', '*'),
    )
    .map(([repository, action]) => `repository:${repository}:${action}`),
)
const token = fc.option(fc.array(tokenLine, { maxLength: 8 }), { nil: undefined })

const answers: Readonly<Record<Verdict, Answer>> = {
  allow: 'yes',
  'log in': 401,
  widen: 401,
  refuse: 403,
}

/** Names that are no repository's are in tokens, too: they must be for nothing. */
function scopeFrom(lines: readonly string[]) {
  return scopeOf(
    lines.map(line => {
      const [type = '', name = '', action = ''] = line.split(':')
      return { type, name, actions: [action] }
    }),
  )
}

describe('decide()', () => {
  it('says what the naive rules say, of every identity, repository, action and token', () => {
    const actions = [...new Set(routes.map(({ action }) => action))]
    fc.assert(
      fc.property(policy, token, (rulesOf, lines) => {
        const rules = {
          rightsOf: rememberRights(rulesOf),
          hasLogin: true,
          letsAnyonePull: letsAnyonePull(rulesOf),
        }
        const scope = lines === undefined ? {} : { scope: scopeFrom(lines) }
        for (const who of identities) {
          for (const repository of repositories) {
            for (const action of actions) {
              const verdict = decide(rules, { identity: who, ...scope }, { action, repository })
              const question = { policy: rulesOf, who, token: lines, action, repository }
              expect([question, answers[verdict]]).toEqual([question, naiveAnswer(question)])
            }
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  it('remembers rights by all that they depend on', () => {
    fc.assert(
      fc.property(policy, rulesOf => {
        const remembered = rememberRights(rulesOf)
        for (let round = 0; round < 2; round++) {
          for (const who of identities) {
            for (const repository of repositories) {
              const rights = [...remembered(who, repository)].sort()
              expect(rights).toEqual([...rightsOf(rulesOf, who, repository)].sort())
              expect(rights).toEqual([...new Set(naiveRights(rulesOf, who, repository))].sort())
            }
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  it('takes no longer for patterns and names made to be slow', () => {
    const slow = { repositories: [`${'**a'.repeat(30)}b`], grants: [] }
    const started = performance.now()
    rightsOf({ admins: [], groups: new Map(), entries: [slow] }, anonymous, 'a'.repeat(255))
    expect(performance.now() - started).toBeLessThan(200)
  })
})

describe('parseScopes()', () => {
  it.each([
    ['repository:a/b:pull,push', ['repository', 'a/b', ['pull', 'push']]],
    ['repository(plugin):a:pull', ['repository', 'a', ['pull']]],
    ['repository:host:5000/a:pull', ['repository', 'host:5000/a', ['pull']]],
    ['repository:a:pull,pull', ['repository', 'a', ['pull']]],
    ['repository:a:', ['repository', 'a', []]],
    ['registry:catalog:*', ['registry', 'catalog', ['*']]],
  ])('reads %s', (text, [type, name, actions]) => {
    expect(parseScopes([text])).toEqual([{ type, name, actions }])
  })

  it.each([
    'repository:a',
    'repository::pull',
    'repository:A:pull',
    'repository:*:pull',
    'repository:../x:pull',
    'repository:a:pull\nrepository:b:push',
    'repository:a:pull  repository:b:pull',
    'repository:a:pull,',
    'repository:a:PULL',
    ' ',
    'x'.repeat(20_000),
    Array(200).fill('repository:a:pull').join(' '),
  ])('refuses %j', text => {
    expect(() => parseScopes([text])).toThrow(/^Cannot parse scope/)
  })
})
