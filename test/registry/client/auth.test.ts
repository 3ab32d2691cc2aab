import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import type { RepositoryName } from '../../../src/oci/reference.ts'
import { verifyLogin } from '../../../src/registry/client/login.ts'
import { pullImage } from '../../../src/registry/client/pull.ts'
import { pushImage } from '../../../src/registry/client/push.ts'
import { resolveReference } from '../../../src/registry/client/resolve.ts'
import { fakeRegistry } from './fake-registry.ts'
import { amd64, bytesOf, makeImage, referenceAt, seed, testClient } from './images.ts'
import { bodyOf, sendJson, serve } from './local-server.ts'

const password = { kind: 'password', username: 'me', password: 'pa:ss' } as const
const basic = `Basic ${Buffer.from('me:pa:ss').toString('base64')}`

interface TokenSetup {
  /** Decides about one request's Authorization header. */
  readonly accepts?: (authorization: string, request: IncomingMessage) => boolean
  readonly answer?: (count: number) => object
  readonly challenge?: (realm: string) => string
}

/** A registry that wants the tokens of a token server beside it. */
async function guarded({ accepts, answer, challenge }: TokenSetup = {}) {
  let tokens = 0
  const forms: string[] = []
  const tokenServer = await serve(async (request, response) => {
    forms.push((await bodyOf(request)).toString())
    tokens += 1
    sendJson(response, 200, answer?.(tokens) ?? { token: `token-${tokens}` })
  })
  const accept = accepts ?? (authorization => authorization === `Bearer token-${tokens}`)
  const registry = await fakeRegistry({
    before: (request: IncomingMessage, response: ServerResponse) => {
      if (accept(request.headers.authorization ?? '', request)) return false
      request.resume()
      const realm = `${tokenServer.url}/token`
      response.writeHead(401, {
        'www-authenticate':
          challenge?.(realm) ??
          `Bearer realm="${realm}",service="fake",scope="repository:team/app:pull"`,
      })
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}')
      return true
    },
  })
  return {
    registry,
    tokenServer,
    forms,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]()
      await tokenServer[Symbol.asyncDispose]()
    },
  }
}

describe('Bearer', () => {
  test('an anonymous pull asks once and uses the token for everything', async () => {
    await using setup = await guarded()
    const image = await makeImage([bytesOf(10, 1), bytesOf(20, 2), bytesOf(30, 3)])
    await seed(setup.registry, image)
    await using client = testClient()
    const reference = referenceAt(setup.registry.host)
    await pullImage(client, reference, { platform: amd64, into: memoryStore(), layers: 'all' })
    expect(setup.tokenServer.seen).toHaveLength(1)
    expect(setup.tokenServer.seen[0]).toMatchObject({
      path: '/token?service=fake&scope=repository%3Ateam%2Fapp%3Apull&client_id=tsbuild',
    })
    expect(setup.tokenServer.seen[0]?.headers.authorization).toBeUndefined()
    expect(setup.registry.seen.filter(({ headers }) => !headers.authorization)).toHaveLength(1)
  })

  test('a push asks for push, and for pull where it mounts from', async () => {
    await using setup = await guarded()
    const image = await makeImage([bytesOf(10, 1)])
    await using client = testClient({ credentials: async () => password })
    await pushImage(client, referenceAt(setup.registry.host), {
      root: image.root,
      from: image.store,
      mountFrom: new Map([[image.layers[0]!.digest, ['base' as RepositoryName]]]),
    })
    const scopes = setup.tokenServer.seen.map(({ path }) =>
      new URL(path, 'http://x').searchParams.getAll('scope'),
    )
    expect(scopes[0]).toEqual(['repository:team/app:pull,push'])
    expect(scopes).toContainEqual(['repository:base:pull', 'repository:team/app:pull,push'])
    expect(setup.tokenServer.seen.every(({ headers }) => headers.authorization === basic)).toBe(
      true,
    )
  })

  test('a token that expires is renewed before it is refused', async () => {
    await using setup = await guarded({
      answer: count => ({ access_token: `token-${count}`, expires_in: 300 }),
    })
    await seed(setup.registry, await makeImage([]))
    let now = Date.now()
    await using client = testClient({ now: () => new Date(now) })
    const reference = referenceAt(setup.registry.host)
    await resolveReference(client, reference)
    now += 295_000
    await resolveReference(client, reference)
    expect(setup.tokenServer.seen).toHaveLength(2)
    expect(setup.registry.seen.filter(({ headers }) => !headers.authorization)).toHaveLength(1)
  })

  test('a token refused in the middle of an upload is renewed, and the upload repeated', async () => {
    let refusals = 0
    await using setup = await guarded({
      accepts: (authorization, request) => {
        if (request.method === 'PUT' && request.url?.includes('/uploads/') && refusals === 0) {
          refusals += 1
          return false
        }
        return authorization.startsWith('Bearer token-')
      },
    })
    const image = await makeImage([bytesOf(300_000, 1)])
    await using client = testClient()
    await pushImage(client, referenceAt(setup.registry.host), {
      root: image.root,
      from: image.store,
    })
    expect(setup.registry.blobs.has(image.layers[0]!.digest)).toBe(true)
    expect(setup.tokenServer.seen).toHaveLength(2)
  })

  test('a registry that refuses every token is asked three times at most', async () => {
    await using setup = await guarded({ accepts: () => false })
    await using client = testClient()
    await expect(resolveReference(client, referenceAt(setup.registry.host))).rejects.toMatchObject({
      code: 'unauthenticated',
      status: 401,
      hint: expect.stringContaining('Log in'),
    })
    // HEAD, then GET for the registry's words.
    expect(setup.registry.seen.length).toBeLessThanOrEqual(6)
  })

  test('an identity token is posted, not shown in a URL', async () => {
    await using setup = await guarded()
    await seed(setup.registry, await makeImage([]))
    const credentials = async () => ({ kind: 'identity-token', token: 'refresh/me' }) as const
    await using client = testClient({ credentials })
    await resolveReference(client, referenceAt(setup.registry.host))
    expect(setup.tokenServer.lines()).toEqual(['POST /token'])
    expect(Object.fromEntries(new URLSearchParams(setup.forms[0]))).toEqual({
      grant_type: 'refresh_token',
      client_id: 'tsbuild',
      scope: 'repository:team/app:pull',
      refresh_token: 'refresh/me',
      service: 'fake',
    })
  })

  test('a registry token is sent as it is', async () => {
    await using setup = await guarded({ accepts: it => it === 'Bearer given' })
    await seed(setup.registry, await makeImage([]))
    const credentials = async () => ({ kind: 'registry-token', token: 'given' }) as const
    await using client = testClient({ credentials })
    await resolveReference(client, referenceAt(setup.registry.host))
    expect(setup.tokenServer.seen).toEqual([])
  })

  test.each([
    ['Bearer realm="file:///etc/passwd"', 'is no http:// address'],
    ['Bearer realm="javascript:alert(1)"', 'is no http:// address'],
    ['Bearer realm="http://user:pw@host/"', 'is no http:// address'],
    ['Bearer service="x"', 'is no http:// address'],
    ['Bearer realm="unclosed', 'Cannot parse WWW-Authenticate'],
    ['Negotiate', 'it asks for negotiate, expected Bearer or Basic'],
  ])('the challenge %s is refused', async (challenge, message) => {
    await using setup = await guarded({ challenge: () => challenge, accepts: () => false })
    await using client = testClient({ credentials: async () => password })
    await expect(resolveReference(client, referenceAt(setup.registry.host))).rejects.toThrow(
      message,
    )
    expect(setup.tokenServer.seen).toEqual([])
  })

  test.each([
    ['a token with a line break', { token: 'a\r\nx: y' }],
    ['an empty token', { token: '' }],
    ['no token', {}],
    ['a number', { token: 5 }],
    ['a list', []],
  ])('%s is refused without being quoted', async (_, answer) => {
    await using setup = await guarded({ answer: () => answer })
    await using client = testClient()
    await expect(resolveReference(client, referenceAt(setup.registry.host))).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/^Cannot log in to .* token/),
    })
  })

  test('a token server that refuses is quoted', async () => {
    await using refusing = await serve((_, response) => {
      sendJson(response, 401, { errors: [{ code: 'UNAUTHORIZED', message: 'bad\u001b[31m' }] })
    })
    await using setup = await guarded({ challenge: () => `Bearer realm="${refusing.url}/t"` })
    await using client = testClient({ credentials: async () => password })
    await expect(resolveReference(client, referenceAt(setup.registry.host))).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('(UNAUTHORIZED: bad\\u001b[31m)'),
    })
  })
})

describe('Basic', () => {
  const asking = (request: IncomingMessage, response: ServerResponse) => {
    if (request.headers.authorization === basic) return false
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    return true
  }

  test('credentials are sent after the registry asked, and from then on at once', async () => {
    await using registry = await fakeRegistry({ before: asking })
    await seed(registry, await makeImage([]))
    await using client = testClient({ credentials: async () => password })
    await resolveReference(client, referenceAt(registry.host))
    expect(registry.seen.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      basic,
      basic,
    ])
  })

  test('no credentials: unauthenticated, without another request', async () => {
    await using registry = await fakeRegistry({ before: asking })
    await using client = testClient()
    await expect(resolveReference(client, referenceAt(registry.host))).rejects.toMatchObject({
      code: 'unauthenticated',
    })
    expect(registry.lines()).toEqual([
      'HEAD /v2/team/app/manifests/latest',
      'GET /v2/team/app/manifests/latest',
    ])
  })

  test('credentials are not sent to another host that a redirect led to', async () => {
    await using storage = await serve((_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="give me"' }).end()
    })
    await using registry = await fakeRegistry({
      before: (request, response) => {
        if (asking(request, response)) return true
        response.writeHead(307, { location: `${storage.url}/x` }).end()
        return true
      },
    })
    await using client = testClient({ credentials: async () => password })
    await expect(resolveReference(client, referenceAt(registry.host))).rejects.toMatchObject({
      status: 401,
    })
    expect(storage.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  })
})

describe('verifyLogin()', () => {
  test('resolves for what the registry accepts', async () => {
    await using setup = await guarded()
    await using client = testClient()
    await verifyLogin(client, setup.registry.host, password)
    expect(setup.registry.lines()).toEqual(['GET /v2/', 'GET /v2/'])
    expect(setup.tokenServer.seen[0]?.headers.authorization).toBe(basic)
  })

  test('refuses wrong credentials, also where anonymous users may read', async () => {
    await using mixed = await serve((request, response) => {
      const { authorization } = request.headers
      response.writeHead(authorization === undefined || authorization === basic ? 200 : 401).end()
    })
    await using client = testClient()
    await verifyLogin(client, mixed.host, password)
    await expect(
      verifyLogin(client, mixed.host, { ...password, password: 'wrong' }),
    ).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.not.stringContaining('wrong'),
    })
  })
})
