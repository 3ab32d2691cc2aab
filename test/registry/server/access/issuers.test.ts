/** Tokens of others: CI systems, clusters, token servers; and what happens when their keys are gone. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isSafeFrom } from '../../../../src/registry/server/access/fetch-document.ts'
import {
  type Issuers,
  type KeyTimes,
  openIssuers,
} from '../../../../src/registry/server/access/issuers.ts'
import { basic, bearer, type Guarded, openGuarded } from './guarded.ts'

const first = generateKeyPairSync('rsa', { modulusLength: 2048 })
const second = generateKeyPairSync('ec', { namedCurve: 'P-256' })

interface Site {
  readonly url: string
  readonly asked: string[]
  /** What it answers; a key is served as the set of keys. */
  answer: 'keys' | 'down' | 'huge' | 'redirect' | 'garbage' | 'slow'
  keys: { readonly kid: string; readonly key: KeyObject }[]
}

let server: Server
let site: Site
beforeAll(async () => {
  server = createServer((req, res) => {
    site.asked.push(req.url ?? '')
    const send = (value: unknown) => res.end(JSON.stringify(value))
    if (site.answer === 'down') return res.writeHead(503).end()
    if (site.answer === 'huge') return res.end(Buffer.alloc(1024 * 1024, 32))
    if (site.answer === 'garbage') return res.end('<html>')
    if (site.answer === 'redirect') return res.writeHead(302, { location: '/keys2' }).end()
    if (req.url?.endsWith('openid-configuration')) {
      return send({ issuer: site.url, jwks_uri: `${site.url}/keys` })
    }
    return send({
      keys: site.keys.map(({ kid, key }) => ({ ...key.export({ format: 'jwk' }), kid })),
    })
  })
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  site = { url: `http://127.0.0.1:${port}`, asked: [], answer: 'keys', keys: [] }
})
afterAll(() => server.close())

const start = () => {
  Object.assign(site, { answer: 'keys', asked: [], keys: [{ kid: 'k1', key: first.publicKey }] })
}

function sign(claims: Record<string, unknown> = {}, header: object = {}, key = first.privateKey) {
  return new SignJWT({ sub: 'repo:acme/app:ref:refs/heads/main', owner: 'acme', ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: 'k1', ...header })
    .setIssuer(site.url)
    .setAudience('registry')
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(key)
}

const issuer = (text = '') => `
policies:
  - repositories: ["acme/**"]
    allow:
      - { to: ["group:ci:owner:acme"], rights: [all] }
issuers:
  ci: { issuer: "${site.url}", audience: registry, groups: [owner]${text} }
`

describe('an identity token', () => {
  let guarded: Guarded
  beforeAll(async () => {
    start()
    guarded = await openGuarded({ policy: issuer(', require: { owner: "ac*" }') })
  })
  afterAll(() => guarded[Symbol.asyncDispose]())
  const status = async (headers: Record<string, string>, name = 'acme/app') =>
    (await guarded.send('GET', `/v2/${name}/tags/list`, { headers })).status

  it('is taken as Bearer, as a password, and for a token of ours; its claims are groups', async () => {
    const token = await sign()
    expect(await status(bearer(token))).toBe(404)
    expect(await status(basic('oidc', token))).toBe(404)
    expect(await status(bearer(token), 'other/app')).toBe(403)
    const own = await guarded.token(['repository:acme/app:pull'], basic('oidc', token))
    expect(await status(bearer(own))).toBe(404)
    // Discovery and keys: once each for all of these.
    expect(site.asked).toEqual(['/.well-known/openid-configuration', '/keys'])
  })

  it.each([
    ['of another audience', { aud: 'other' }],
    ['that is over', { exp: 1 }],
    ['without what is required', { owner: 'eve' }],
    ['without a subject', { sub: undefined }],
  ])('%s is refused', async (_, claims) => {
    const all = {
      sub: 'x',
      owner: 'acme',
      aud: 'registry',
      iss: site.url,
      exp: Math.floor(Date.now() / 1000) + 100,
      iat: 1,
      ...claims,
    }
    const token = await new SignJWT(all as JWTPayload)
      .setProtectedHeader({ alg: 'RS256', kid: 'k1' })
      .sign(first.privateKey)
    expect(await status(bearer(token))).toBe(401)
  })

  it('of another issuer, of another key, or without a kid is refused', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(await status(bearer(await sign({}, {}, other.privateKey)))).toBe(401)
    expect(await status(bearer(await sign({}, { kid: undefined })))).toBe(401)
    expect(
      await status(
        bearer(
          await sign({}, { jwk: other.publicKey.export({ format: 'jwk' }) }, other.privateKey),
        ),
      ),
    ).toBe(401)
  })

  it('with a claim that names groups of ours gives none of them', async () => {
    expect(await status(bearer(await sign({ owner: 'acmeX', groups: ['ci:owner:acme'] })))).toBe(
      403,
    )
  })
})

describe('a token server’s token', () => {
  it('is good for its access alone, within the rules', async () => {
    start()
    await using guarded = await openGuarded(
      { policy: issuer() },
      { tokenUrl: new URL('https://auth.example/token') },
    )
    const challenge = (await guarded.send('GET', '/v2/')).headers['www-authenticate']
    expect(challenge).toContain('realm="https://auth.example/token"')
    const access = [
      { type: 'repository', name: 'acme/app', actions: ['pull'] },
      { type: 'repository', name: 'other', actions: ['pull'] },
    ]
    const headers = bearer(await sign({ access }))
    const status = async (method: string, path: string) =>
      (await guarded.send(method, `/v2/${path}`, { headers })).status
    expect(await status('GET', 'acme/app/tags/list')).toBe(404)
    expect(await status('POST', 'acme/app/blobs/uploads/')).toBe(401)
    expect(await status('GET', 'acme/other/tags/list')).toBe(401)
    expect(await status('GET', 'other/tags/list')).toBe(403)
    const broken = bearer(await sign({ access: 'all' }))
    expect((await guarded.send('GET', '/v2/', { headers: broken })).status).toBe(401)
  })
})

describe('keys of an issuer', () => {
  const open = (keys: 'url' | 'discovery' = 'url', times?: KeyTimes): Promise<Issuers> =>
    openIssuers(
      [
        {
          id: 'ci',
          issuer: site.url,
          audience: 'registry',
          keys: {
            kind: keys,
            url: new URL(
              `${site.url}/${keys === 'url' ? 'keys' : '.well-known/openid-configuration'}`,
            ),
          },
          algorithms: ['RS256', 'ES256'],
          subject: 'sub',
          groups: [],
          require: new Map(),
        },
      ],
      times,
    )

  it('are asked for again when a token names a new one, and a removed one ends with its time', async () => {
    start()
    const issuers = await open('url', { cacheMs: 60_000, cooldownMs: 0, staleMs: 0 })
    const old = await sign()
    expect(await issuers.verify(old)).toBeDefined()
    site.keys = [{ kid: 'k2', key: second.publicKey }]
    const rotated = await sign({}, { alg: 'ES256', kid: 'k2' }, second.privateKey)
    expect(await issuers.verify(rotated)).toBeDefined()
    // The set is the new one.
    expect(await issuers.verify(old)).toBe(undefined)
  })

  it('that were had last count while none can be had, for a time; unknown ones are not refused', async () => {
    start()
    const short = { cacheMs: 0, cooldownMs: 0 }
    const issuers = await open('url', { ...short, staleMs: 60_000 })
    const impatient = await open('url', { ...short, staleMs: -1 })
    const token = await sign()
    expect(await issuers.verify(token)).toBeDefined()
    expect(await impatient.verify(token)).toBeDefined()
    site.answer = 'down'
    expect(await issuers.verify(token)).toBeDefined()
    await expect(impatient.verify(token)).rejects.toMatchObject({ code: 'unavailable' })
    const rotated = await sign({}, { alg: 'ES256', kid: 'k2' }, second.privateKey)
    await expect(issuers.verify(rotated)).rejects.toMatchObject({ code: 'unavailable' })
    site.answer = 'keys'
    site.keys = [{ kid: 'k2', key: second.publicKey }]
    expect(await issuers.verify(rotated)).toBeDefined()
    expect(await issuers.verify(token)).toBe(undefined)
  })

  it('are asked for once by many tokens at once, and not for keys that are made up', async () => {
    start()
    const issuers = await open()
    const token = await sign()
    const all = await Promise.all(Array.from({ length: 50 }, () => issuers.verify(token)))
    expect(all.every(found => found !== undefined)).toBe(true)
    for (let i = 0; i < 20; i++)
      expect(await issuers.verify(await sign({}, { kid: `k${i}x` }))).toBe(undefined)
    expect(site.asked.length).toBeLessThanOrEqual(2)
  })

  it('of another algorithm than those allowed are not used', async () => {
    start()
    site.keys = [{ kid: 'k1', key: second.publicKey }]
    const issuers = await openIssuers([
      {
        id: 'ci',
        issuer: site.url,
        audience: 'registry',
        keys: { kind: 'url', url: new URL(`${site.url}/keys`) },
        algorithms: ['RS256'],
        subject: 'sub',
        groups: [],
        require: new Map(),
      },
    ])
    expect(await issuers.verify(await sign({}, { alg: 'ES256' }, second.privateKey))).toBe(
      undefined,
    )
    expect(
      await (await open()).verify(await sign({}, { alg: 'ES256' }, second.privateKey)),
    ).toBeDefined()
  })

  it.each(['down', 'huge', 'redirect', 'garbage'] as const)(
    'that cannot be had (%s) are told as such: nobody is let in, and it is tried again',
    async answer => {
      start()
      site.answer = answer
      const issuers = await open('discovery')
      const token = await sign()
      await expect(issuers.verify(token)).rejects.toMatchObject({ code: 'unavailable' })
      site.answer = 'keys'
      await expect(issuers.verify(token)).resolves.toMatchObject({ identity: { kind: 'external' } })
      expect(site.asked).not.toContain('/keys2')
    },
  )

  it.each([
    ['https://issuer.example/x', 'https://keys.example/keys', true],
    ['https://kubernetes.default.svc/x', 'https://10.96.0.1/openid/v1/jwks', true],
    ['http://127.0.0.1:1/x', 'http://127.0.0.1:2/keys', true],
    ['https://issuer.example/x', 'http://127.0.0.1:2375/keys', false],
    ['https://issuer.example/x', 'http://keys.example/keys', false],
    ['https://issuer.example/x', 'file:///etc/passwd', false],
  ])('of the document %s at %s may be asked for: %j (SSRF by discovery)', (from, to, isSafe) => {
    expect(isSafeFrom(new URL(from), new URL(to))).toBe(isSafe)
  })

  it('of a discovery document that is another issuer’s are not used', async () => {
    start()
    const url = new URL(`${site.url}/.well-known/openid-configuration`)
    const options = {
      id: 'ci',
      audience: 'registry',
      algorithms: ['RS256'],
      subject: 'sub',
      groups: [],
      require: new Map(),
    }
    const issuers = await openIssuers([
      { ...options, issuer: 'https://other.example', keys: { kind: 'discovery', url } },
    ])
    const token = await new SignJWT({
      sub: 'x',
      iss: 'https://other.example',
      aud: 'registry',
      iat: 1,
      exp: 9_999_999_999,
    })
      .setProtectedHeader({ alg: 'RS256', kid: 'k1' })
      .sign(first.privateKey)
    await expect(issuers.verify(token)).rejects.toMatchObject({ code: 'unavailable' })
  })
})
