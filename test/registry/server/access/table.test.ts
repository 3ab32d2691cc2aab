/** The whole table: every endpoint, identity and repository, through the server. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { anonymous, type Identity } from '../../../../src/registry/server/access/identity.ts'
import { parsePolicyFile } from '../../../../src/registry/server/access/policy-file.ts'
import { createRobot } from '../../../../src/registry/server/access/robots.ts'
import { routes } from '../../../../src/registry/server/routes.ts'
import { content, imageOf } from '../contents.ts'
import {
  basic,
  type Guarded,
  openGuarded,
  samplePolicy as policy,
  sampleUsers as users,
} from './guarded.ts'
import { naiveAnswer } from './naive-rules.ts'

let guarded: Guarded
let callers: { readonly who: Identity; readonly headers: Record<string, string> }[]
beforeAll(async () => {
  guarded = await openGuarded({ users, policy })
  const robot = { name: 'ci', groups: ['machines'] }
  const secret = await createRobot(guarded.objects, robot, new Date())
  callers = [
    { who: anonymous, headers: {} },
    ...Object.entries(users).map(([name, password]) => ({
      who: { kind: 'user', name, groups: [] } as const,
      headers: basic(name, password),
    })),
    {
      who: { kind: 'robot', name: 'robot+ci', groups: ['machines'] },
      headers: basic('robot+ci', secret),
    },
  ]
  const image = imageOf([])
  for (const name of ['public/a', 'secret/a', 'secret/hidden', 'team/a']) {
    await guarded.send('PUT', `/v2/${name}/manifests/x`, {
      headers: { 'content-type': image.mediaType, ...basic('root', 'r') },
      body: image.bytes,
    })
  }
})
afterAll(() => guarded[Symbol.asyncDispose]())

const { digest } = content('x')
const id = '0b4fa5a3-6a80-4a3a-9d9f-1b8a2f3c4d5e'
const pathOf = (kind: string, name: string): string =>
  ({
    base: '/v2/',
    catalog: '/v2/_catalog',
    extensions: '/v2/_oci/ext/discover',
    blob: `/v2/${name}/blobs/${digest}`,
    uploads: `/v2/${name}/blobs/uploads/`,
    upload: `/v2/${name}/blobs/uploads/${id}`,
    manifest: `/v2/${name}/manifests/none`,
    tags: `/v2/${name}/tags/list`,
    referrers: `/v2/${name}/referrers/${digest}`,
    'tag-history': `/v2/${name}/_tsregistry/tags/none/history`,
    'tag-undo': `/v2/${name}/_tsregistry/tags/none/undo`,
  })[kind] ?? ''

/** A repository that is there, and one under the same rules that is not. */
const pairs = [
  ['public/a', 'public/none'],
  ['secret/a', 'secret/none'],
  ['secret/hidden', 'elsewhere'],
  ['team/a', 'team/none'],
] as const

const rules = parsePolicyFile('policy', policy).policy

describe('every endpoint, for every identity and repository', () => {
  it.each(pairs)(
    'is answered as the naive rules say: %s; and %s in the same words',
    async (there, nowhere) => {
      for (const { who, headers } of callers) {
        for (const { method, kind, action } of routes) {
          const question = { policy: rules, who, token: undefined, action, repository: there }
          const expected = naiveAnswer(question)
          const answer = await guarded.send(method, pathOf(kind, there), { headers })
          const said = [401, 403].includes(answer.status) ? answer.status : 'yes'
          const asked = `${who.name} ${method} ${pathOf(kind, there)}`
          expect([asked, said]).toEqual([asked, expected])
          if (expected === 'yes') continue
          const other = await guarded.send(method, pathOf(kind, nowhere), { headers })
          const masked = answer.body.toString().replaceAll(there, nowhere)
          expect([other.status, other.body.toString()]).toEqual([answer.status, masked])
        }
      }
    },
  )

  it.each(['OPTIONS', 'TRACE', 'PROPFIND'])('has no way in by %s', async method => {
    expect((await guarded.send(method, '/v2/secret/a/manifests/x')).status).toBe(405)
  })

  it.each([
    '/v2',
    '//v2/secret/a/tags/list',
    '/V2/secret/a/tags/list',
    '/v2/secret%2fa/tags/list',
    '/v2/secret/./a/tags/list',
    '/v2/secret/a/tags/list/',
  ])('has no second spelling that is let in: %s', async path => {
    expect([400, 401, 404]).toContain((await guarded.send('GET', path)).status)
  })
})
