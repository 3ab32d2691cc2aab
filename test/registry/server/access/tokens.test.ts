/** The registry's own tokens: what is issued, what is taken, and the ways to forge one (RFC 8725). */
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRobot, revokeRobot } from '../../../../src/registry/server/access/robots.ts'
import { loadTokenKeys, type TokenKeys } from '../../../../src/registry/server/access/token-keys.ts'
import { content } from '../contents.ts'
import {
  basic,
  bearer,
  type Guarded,
  htpasswd,
  openGuarded,
  samplePolicy as policy,
  sampleUsers as users,
} from './guarded.ts'

let folder: string
let guarded: Guarded
let keys: TokenKeys
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsregistry-keys-'))
  guarded = await openGuarded({ users, policy }, { tokenKeys: folder })
  keys = await loadTokenKeys(folder)
})
afterAll(async () => {
  await guarded[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

const scopes = ['repository:team/a:pull,push', 'repository:secret/hidden:pull']

async function ask(query: string, headers: Record<string, string> = {}) {
  const answer = await guarded.send('GET', `/token?${query}`, { headers })
  return { ...answer, value: JSON.parse(answer.body.toString()) }
}

async function post(form: Record<string, string>) {
  const answer = await guarded.send('POST', '/token', {
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(form).toString(),
  })
  return { ...answer, value: JSON.parse(answer.body.toString()) }
}

const pull = async (token: string, name = 'team/a') =>
  (await guarded.send('GET', `/v2/${name}/tags/list`, { headers: bearer(token) })).status

describe('/token', () => {
  it('gives as much of what was asked as the rules grant, and says so', async () => {
    const query = `service=tests&${scopes.map(scope => `scope=${scope}`).join('&')}&scope=repository:public/a:*`
    const { status, value, headers } = await ask(query, basic('bob', 'b'))
    expect([status, headers['cache-control']]).toEqual([200, 'no-store'])
    expect(decodeJwt(value.token)).toMatchObject({
      iss: 'tests',
      aud: 'tests',
      sub: 'bob',
      access: [
        { type: 'repository', name: 'team/a', actions: ['pull', 'push'] },
        { type: 'repository', name: 'public/a', actions: ['pull'] },
      ],
    })
    expect(value).toMatchObject({
      access_token: value.token,
      expires_in: 300,
      scope: 'repository:team/a:pull,push repository:public/a:pull',
    })
    expect(value.refresh_token).toBeUndefined()
  })

  it('gives anybody a token for what anybody may pull, and no more', async () => {
    const { value } = await ask('scope=repository:public/a:pull,push&scope=repository:team/a:pull')
    expect(decodeJwt(value.token)).toMatchObject({
      sub: '',
      access: [{ name: 'public/a', actions: ['pull'] }],
    })
    expect(await pull(value.token)).toBe(401)
    expect((await guarded.send('GET', '/v2/', { headers: bearer(value.token) })).status).toBe(200)
  })

  it.each([
    ['service=other', 400],
    ['service=tests&service=tests', 400],
    ['scope=repository:A:pull', 400],
    [`scope=${'x'.repeat(9000)}`, 400],
    ['scope=repository:*:pull', 400],
  ])('refuses %s', async (query, status) => {
    expect((await ask(query, basic('bob', 'b'))).status).toBe(status)
  })

  it('refuses a wrong login, other methods, and other bodies', async () => {
    const wrong = await ask('service=tests', basic('bob', 'x'))
    expect([wrong.status, wrong.headers['www-authenticate']]).toEqual([
      401,
      'Basic realm="tests", charset="UTF-8"',
    ])
    expect((await guarded.send('PUT', '/token')).status).toBe(405)
    expect((await guarded.send('POST', '/token', { body: '{}' })).status).toBe(400)
    expect((await post({ grant_type: 'client_credentials' })).status).toBe(400)
    expect((await post({ grant_type: 'password', username: 'x'.repeat(70_000) })).status).toBe(400)
  })

  it('gives and takes refresh tokens by OAuth2’s form, until the password changes', async () => {
    const login = { grant_type: 'password', service: 'tests', client_id: 'x', username: 'bob' }
    const first = await post({
      ...login,
      password: 'b',
      access_type: 'offline',
      scope: scopes[0] ?? '',
    })
    expect(first.status).toBe(200)
    expect(await pull(first.value.access_token)).toBe(404)
    expect((await post({ ...login, password: 'x' })).status).toBe(401)
    const refresh_token = first.value.refresh_token
    const again = { grant_type: 'refresh_token', service: 'tests', refresh_token }
    const second = await post({ ...again, scope: scopes.join(' ') })
    expect(second.value.scope).toBe('repository:team/a:pull,push')
    // One kind is not good as the other.
    expect(await pull(refresh_token)).toBe(401)
    expect((await post({ ...again, refresh_token: second.value.access_token })).status).toBe(401)
    await writeFile(join(guarded.folder, 'users'), htpasswd({ ...users, bob: 'other' }))
    await guarded.access.reload()
    expect((await post(again)).status).toBe(401)
    expect(await pull(second.value.access_token)).toBe(401)
    await writeFile(join(guarded.folder, 'users'), htpasswd(users))
    await guarded.access.reload()
  })

  it('gives a robot a token that ends with its key', async () => {
    const robot = { name: 'ci', groups: ['machines'] }
    const secret = await createRobot(guarded.objects, robot, new Date())
    expect((await guarded.send('GET', '/v2/', { headers: basic('robot+ci', 'x') })).status).toBe(
      401,
    )
    const token = await guarded.token(scopes, basic('robot+ci', secret))
    expect(await pull(token)).toBe(404)
    await revokeRobot(guarded.objects, 'ci')
    await expect.poll(() => pull(token), { timeout: 10_000, interval: 500 }).toBe(401)
  })
})

describe('a token', () => {
  it('is good for its repository and action alone (scope confusion)', async () => {
    const token = await guarded.token(['repository:team/a:pull'], basic('alice', 'a'))
    expect(await pull(token)).toBe(404)
    const other = await guarded.send('GET', '/v2/team/b/tags/list', { headers: bearer(token) })
    expect(other.status).toBe(401)
    expect(other.headers['www-authenticate']).toMatch(
      /scope="repository:team\/b:pull",error="insufficient_scope"$/,
    )
    const id = '0b4fa5a3-6a80-4a3a-9d9f-1b8a2f3c4d5e'
    for (const line of [
      `PATCH /v2/team/a/blobs/uploads/${id}`,
      'POST /v2/team/a/blobs/uploads/',
      'PUT /v2/team/a/manifests/x',
      `DELETE /v2/team/a/blobs/${content('x').digest}`,
      'GET /v2/_catalog',
    ]) {
      const [method = '', path = ''] = line.split(' ')
      expect((await guarded.send(method, path, { headers: bearer(token) })).status).toBe(401)
    }
  })

  it('is bounded by the rules of now: for what is refused it is 403', async () => {
    const token = await forge({
      access: [{ type: 'repository', name: 'secret/hidden', actions: ['*'] }],
    })
    expect(await pull(token, 'secret/hidden')).toBe(403)
  })

  /** Signed by the right key, with what it says changed. */
  async function forge(
    claims: Record<string, unknown>,
    {
      header = {},
      key = keys.signing.privateKey,
    }: { header?: object; key?: Parameters<SignJWT['sign']>[0] } = {},
  ) {
    const base = decodeJwt(await guarded.token(scopes, basic('bob', 'b')))
    const { id: kid, algorithm: alg } = keys.signing
    return new SignJWT({ ...base, ...claims })
      .setProtectedHeader({ alg, kid, typ: 'JWT', ...header })
      .sign(key)
  }
  const now = Math.floor(Date.now() / 1000)

  it('that is forged with the right key is taken as it is: the refusals below are not by chance', async () => {
    expect(await pull(await forge({}))).toBe(404)
    expect(await pull(await forge({ aud: ['other', 'tests'] }))).toBe(404)
    expect(await pull(await forge({ nbf: now + 10, exp: now + 300 }))).toBe(404)
  })

  it.each([
    ['of another audience', { aud: 'other' }],
    ['for refreshing', { aud: 'tests refresh' }],
    ['of another issuer', { iss: 'other' }],
    ['that is over', { exp: now - 30 }],
    ['of the future', { nbf: now + 120 }],
    ['without end', { exp: undefined }],
    [
      'with an access that is no list',
      { access: { type: 'repository', name: 'team/a', actions: ['pull'] } },
    ],
    [
      'with actions that are no list',
      { access: [{ type: 'repository', name: 'team/a', actions: 'pull' }] },
    ],
    ['of a user who is not there', { sub: 'eve' }],
    ['with the stamp of another password', { stamp: 'x' }],
    ['without a stamp', { stamp: undefined }],
    ['of no known kind', { kind: 'root' }],
  ])('%s is refused', async (_, claims) => {
    expect(await pull(await forge(claims))).toBe(401)
  })

  it('that brings its own key is refused: jwk, jku, x5u, x5c (CVE-2025-24976)', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const jwk = publicKey.export({ format: 'jwk' })
    for (const header of [
      { jwk },
      { jwk, kid: undefined },
      { jku: 'http://127.0.0.1:9/keys', kid: 'x' },
      { x5u: 'http://127.0.0.1:9/cert' },
      { x5c: ['AAAA'] },
    ]) {
      expect(await pull(await forge({}, { header, key: privateKey }))).toBe(401)
    }
  })

  it('without a signature, or signed with the public key as a secret, is refused', async () => {
    const [, payload = ''] = (await forge({})).split('.')
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const kid = keys.signing.id
    for (const alg of ['none', 'None', 'HS256']) {
      const start = `${encode({ alg, kid, typ: 'JWT' })}.${payload}`
      const secret = keys.signing.publicKey.export({ type: 'spki', format: 'pem' })
      const mac = createHmac('sha256', secret).update(start).digest('base64url')
      expect(await pull(`${start}.`)).toBe(401)
      expect(await pull(`${start}.${mac}`)).toBe(401)
    }
  })

  it('with a wrong kid, another algorithm, critical headers or another type is refused', async () => {
    for (const header of [
      { kid: 'other' },
      { kid: undefined },
      { typ: 'refresh+jwt' },
      { crit: ['x'], x: 1 },
    ]) {
      await expect(forge({}, { header }).then(pull, () => 401)).resolves.toBe(401)
    }
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(await pull(await forge({}, { header: { alg: 'RS256' }, key: rsa.privateKey }))).toBe(401)
  })

  it('that is no token, or a huge one, costs nothing (CVE-2025-30204)', async () => {
    for (const token of [
      'a.b.c',
      '.'.repeat(8000),
      `a.${'b'.repeat(12_000)}.c`,
      'a.b',
      `${'a.'.repeat(3000)}a`,
    ]) {
      const started = performance.now()
      expect(await pull(token)).toBe(401)
      expect(performance.now() - started).toBeLessThan(500)
    }
  })
})

describe('keys', () => {
  it('are made where there are none, and rotate: the last signs, all verify, a removed one does not', async () => {
    const before = await guarded.token(scopes, basic('bob', 'b'))
    expect(await readdir(folder)).toEqual(['key-0001.pem'])
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    await writeFile(join(folder, 'key-0002.pem'), ec.export({ type: 'pkcs8', format: 'pem' }))
    await guarded.access.reload()
    const after = await guarded.token(scopes, basic('bob', 'b'))
    expect(decodeProtectedHeader(after).alg).toBe('ES256')
    expect([await pull(before), await pull(after)]).toEqual([404, 404])
    await rm(join(folder, 'key-0001.pem'))
    await guarded.access.reload()
    expect([await pull(before), await pull(after)]).toEqual([401, 404])
  })

  it.each([
    ['an RSA key of 1024 bits', generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey],
    ['a P-384 key', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
    ['no key', undefined],
    ['a public key alone', generateKeyPairSync('ed25519').publicKey],
  ])('%s is refused by name', async (_, key) => {
    const place = await mkdtemp(join(folder, 'x-'))
    const type = key?.type === 'public' ? 'spki' : 'pkcs8'
    const pem = key === undefined ? 'hello' : key.export({ type: type as 'pkcs8', format: 'pem' })
    await writeFile(join(place, 'own.pem'), pem)
    await expect(loadTokenKeys(place)).rejects.toThrow(/^Cannot use token key/)
  })
})
