/** The policy file: what it says, and how it is refused. */
import { describe, expect, it } from 'vitest'
import type { Identity } from '../../../../src/registry/server/access/identity.ts'
import { rightsOf } from '../../../../src/registry/server/access/policy.ts'
import { parsePolicyFile } from '../../../../src/registry/server/access/policy-file.ts'
import { samplePolicy as policy } from './guarded.ts'

describe('the policy file', () => {
  it('is understood as written', () => {
    const { policy: parsed } = parsePolicyFile('p', policy)
    const alice: Identity = { kind: 'user', name: 'alice', groups: [] }
    expect([...rightsOf(parsed, alice, 'public/x')].sort()).toEqual(['pull', 'push'])
    expect([...rightsOf(parsed, alice, 'secret/hidden')]).toEqual([])
  })

  it.each([
    ['policies: 3', 'line 1: policies: '],
    [
      'policies:\n  - repositories: []\n    allow: []',
      'line 2: policies.0.repositories: expected at least one',
    ],
    [
      'policies:\n  - repositories: [a]\n    allow:\n      - to: [everyone]\n        rights: [pull]',
      'line 4: policies.0.allow.0.to.0: expected anyone, authenticated, user:NAME or group:NAME',
    ],
    [
      'policies:\n  - repositories: [a]\n    allow:\n      - to: [anyone]\n        rights: [read]',
      'line 5: policies.0.allow.0.rights.0: ',
    ],
    ['policies: []\npolicy: []', 'line 2: policy: this key is not known'],
    ['policies: []\npolicies: []', 'line 2: Map keys must be unique'],
    ['- a', 'line 1: policies: missing'],
    ['', 'the file: '],
    ['policies: [', 'line 1: '],
    [
      'policies: []\nissuers:\n  x: { issuer: "http://a.example", audience: b }',
      'issuers.x.jwks: expected a file',
    ],
    [
      'a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\npolicies: [*c, *c, *c]',
      '',
    ],
  ])('%j is refused with its place', (text, message) => {
    expect(() => parsePolicyFile('policy.yaml', text)).toThrow(
      message === '' ? Error : `Cannot use policy "policy.yaml": ${message}`,
    )
  })
})
