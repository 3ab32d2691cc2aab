/** What a connection proved counts for the same header alone, and for no longer than what it was proved by. */
import { describe, expect, it } from 'vitest'
import type { Client } from '../../../../src/registry/server/access/access.ts'
import type { Authenticated } from '../../../../src/registry/server/access/authenticate.ts'
import { createProofsOfConnections } from '../../../../src/registry/server/access/proofs-of-connections.ts'

const alice: Authenticated = { account: { identity: { kind: 'user', name: 'alice', groups: [] } } }

function proofs({ proved }: { readonly proved: Authenticated | undefined } = { proved: alice }) {
  const files = { users: new Map(), keys: {}, issuers: {} }
  const clock = { now: 1_000_000 }
  const made = createProofsOfConnections({ authenticate: async () => proved }, {
    users: () => files.users,
    tokens: { keys: () => files.keys, now: () => new Date(clock.now), realm: '' },
    issuers: () => files.issuers,
  } as unknown as Parameters<typeof createProofsOfConnections>[1])
  return { ...made, files, clock }
}

function client(connection: object | undefined, authorization: string | undefined): Client {
  return { ...(connection && { connection }), header: () => authorization }
}

describe('the proofs of connections', () => {
  it('recall who it was for the same header on the same connection, and for no other', async () => {
    const { prove, recall } = proofs()
    const connection = {}
    expect(recall(client(connection, 'Basic a'))).toBeUndefined()
    expect(await prove(client(connection, 'Basic a'))).toBe(alice)
    expect(recall(client(connection, 'Basic a'))).toBe(alice)
    for (const other of ['Basic b', 'Basic a ', '', undefined]) {
      expect(recall(client(connection, other))).toBeUndefined()
    }
    expect(recall(client({}, 'Basic a'))).toBeUndefined()
    expect(recall(client(undefined, 'Basic a'))).toBeUndefined()
  })

  it('take no character for another that it looks like when cut to a byte', async () => {
    const { prove, recall } = proofs()
    const connection = {}
    await prove(client(connection, 'Basic a'))
    expect(recall(client(connection, 'Basic \u0161'))).toBeUndefined()
  })

  it('remember no header that was wrong, and none for who sends none', async () => {
    const wrong = proofs({ proved: undefined })
    const connection = {}
    expect(await wrong.prove(client(connection, 'Basic a'))).toBeUndefined()
    expect(wrong.recall(client(connection, 'Basic a'))).toBeUndefined()
    const none = proofs()
    await none.prove(client(connection, undefined))
    expect(none.recall(client(connection, undefined))).toBeUndefined()
  })

  it.each(['users', 'keys', 'issuers'] as const)(
    'end with another reading of the %s',
    async name => {
      const { prove, recall, files } = proofs()
      const connection = {}
      await prove(client(connection, 'Basic a'))
      Object.assign(files, { [name]: new Map() })
      expect(recall(client(connection, 'Basic a'))).toBeUndefined()
    },
  )

  it('do not outlive files that change while it is proved', async () => {
    const { prove, recall, files } = proofs()
    const connection = {}
    const proving = prove(client(connection, 'Basic a'))
    files.users = new Map()
    await proving
    expect(recall(client(connection, 'Basic a'))).toBeUndefined()
  })

  it.each([
    ['a minute', alice, 60_000],
    ['the end of the token', { ...alice, expiresAt: 1_000_000 + 500 }, 500],
    [
      'when a robot’s key is to be looked for again',
      { account: { ...alice.account, until: 1_000_000 + 700 }, expiresAt: 1_000_000 + 900 },
      700,
    ],
  ])('end after %s', async (_, proved, ms) => {
    const { prove, recall, clock } = proofs({ proved })
    const connection = {}
    await prove(client(connection, 'Bearer x'))
    clock.now += ms - 1
    expect(recall(client(connection, 'Bearer x'))).toBe(proved)
    clock.now += 1
    expect(recall(client(connection, 'Bearer x'))).toBeUndefined()
  })
})
