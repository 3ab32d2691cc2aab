/** Access as clients meet it: challenges, statuses, mounts, the catalog. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseChallenges } from '../../../../src/registry/client/challenge.ts'
import { content, imageOf } from '../contents.ts'
import {
  basic,
  bearer,
  type Guarded,
  htpasswd,
  openGuarded,
  samplePolicy as policy,
  sampleUsers as users,
} from './guarded.ts'

const image = imageOf([])
const type = { 'content-type': image.mediaType }

let guarded: Guarded
beforeAll(async () => {
  guarded = await openGuarded({ users, policy })
  for (const name of ['public/a', 'secret/a', 'secret/hidden', 'team/a']) {
    await put(`${name}:x`, basic('root', 'r'))
  }
})
afterAll(() => guarded[Symbol.asyncDispose]())

const put = (place: string, headers: Record<string, string>, body = image) =>
  guarded.send('PUT', `/v2/${place.replace(':', '/manifests/')}`, {
    headers: { ...type, ...headers },
    body: body.bytes,
  })

function challengeOf(header: string | undefined) {
  const [challenge] = parseChallenges(header ?? '')
  return { scheme: challenge?.scheme, ...Object.fromEntries(challenge?.params ?? []) }
}

describe('the challenge', () => {
  it('asks for a token at the version check, so that clients with a login use it', async () => {
    const { status, headers } = await guarded.send('GET', '/v2/', {
      headers: { host: 'reg.example:5000' },
    })
    expect(status).toBe(401)
    expect(challengeOf(headers['www-authenticate'])).toEqual({
      scheme: 'bearer',
      realm: 'http://reg.example:5000/token',
      service: 'tests',
    })
  })

  it.each([
    ['GET', '/v2/team/a/manifests/x', 'repository:team/a:pull'],
    ['PUT', '/v2/team/a/manifests/x', 'repository:team/a:pull,push'],
    ['DELETE', '/v2/team/a/manifests/x', 'repository:team/a:delete'],
    ['POST', '/v2/team/a/blobs/uploads/', 'repository:team/a:pull,push'],
    [
      'POST',
      `/v2/team/a/blobs/uploads/?mount=${content('x').digest}&from=secret/a`,
      'repository:team/a:pull,push repository:secret/a:pull',
    ],
    [
      'POST',
      `/v2/team/a/blobs/uploads/?mount=${content('x').digest}&from=%0d%0aX:%201`,
      'repository:team/a:pull,push',
    ],
  ])('of %s %s is for %s', async (method, path, scope) => {
    const { status, headers } = await guarded.send(method, path)
    expect(status).toBe(401)
    expect(challengeOf(headers['www-authenticate'])).toMatchObject({ scope })
  })

  it.each(['x"y', 'a b', 'a/b@c', '<x>'])('takes no host %j from the client', async host => {
    const answer = await guarded.send('GET', '/v2/', { headers: { host } })
    expect(challengeOf(answer.headers['www-authenticate'])).toMatchObject({
      realm: 'http://localhost/token',
    })
  })

  it('names the address that is configured, whatever host was asked', async () => {
    await using other = await openGuarded(
      { users, policy },
      { externalUrl: new URL('https://registry.example') },
    )
    const answer = await other.send('GET', '/v2/', { headers: { host: 'evil.example' } })
    expect(challengeOf(answer.headers['www-authenticate'])).toMatchObject({
      realm: 'https://registry.example/token',
    })
  })

  it('is Basic where nobody may do anything without login', async () => {
    await using other = await openGuarded({ users })
    const answer = await other.send('GET', '/v2/')
    expect(answer.headers['www-authenticate']).toBe('Basic realm="tests", charset="UTF-8"')
    expect((await other.send('GET', '/v2/', { headers: basic('bob', 'b') })).status).toBe(200)
    expect((await other.send('GET', '/v2/', { headers: basic('bob', 'x') })).status).toBe(401)
  })
})

describe('what is refused', () => {
  it('is 401 without login, 403 with one, and says who may not do what', async () => {
    const login = await put('public/a:y', {})
    expect([login.status, login.json().errors[0]?.code]).toEqual([401, 'UNAUTHORIZED'])
    const denied = await put('public/a:y', basic('bob', 'b'))
    expect([denied.status, denied.json().errors[0]?.code]).toEqual([403, 'DENIED'])
    expect(denied.json().errors[0]?.message).toContain('"bob" may not push to "public/a"')
  })

  it('is 401 for a wrong login, also where none is needed', async () => {
    for (const headers of [
      basic('bob', 'x'),
      basic('eve', 'b'),
      { authorization: 'Basic %%%' },
      { authorization: 'Digest x' },
    ]) {
      expect((await guarded.send('GET', '/v2/public/a/manifests/x', { headers })).status).toBe(401)
    }
  })

  it('is moving a tag, to whoever may only create (CVE-2026-31801)', async () => {
    const other = imageOf([], { annotations: { n: '2' } })
    expect((await put('team/a:bob', basic('bob', 'b'))).status).toBe(201)
    // The same once more is no change.
    expect((await put('team/a:bob', basic('bob', 'b'))).status).toBe(201)
    const moved = await put('team/a:bob', basic('bob', 'b'), other)
    expect([moved.status, moved.json().errors[0]?.code]).toEqual([403, 'DENIED'])
    expect(moved.json().errors[0]?.message).toContain('may create tags but not overwrite')
    expect((await put('team/a:bob', basic('alice', 'a'), other)).status).toBe(201)
  })

  it('is moving a tag by ?tag=, each of them (zot #4266)', async () => {
    const other = imageOf([], { annotations: { n: '3' } })
    await put('team/a:there', basic('alice', 'a'))
    const answer = await guarded.send(
      'PUT',
      `/v2/team/a/manifests/${other.digest}?tag=fresh&tag=there`,
      { headers: { ...type, ...basic('bob', 'b') }, body: other.bytes },
    )
    expect(answer.status).toBe(403)
    expect(
      (await guarded.send('GET', '/v2/team/a/manifests/fresh', { headers: basic('bob', 'b') }))
        .status,
    ).toBe(404)
  })

  it('is undoing a change, to whoever may not overwrite and delete', async () => {
    const undo = '/v2/team/a/_tsregistry/tags/x/undo'
    expect((await guarded.send('POST', undo, { headers: basic('bob', 'b') })).status).toBe(403)
  })

  it('of two that create one tag at once without the right to overwrite, one push succeeds', async () => {
    const pushes = Array.from({ length: 8 }, (_, i) =>
      put('team/race:x', basic('bob', 'b'), imageOf([], { annotations: { i: `${i}` } })),
    )
    const statuses = (await Promise.all(pushes)).map(({ status }) => status)
    expect(statuses.sort()).toEqual([201, ...Array(7).fill(403)])
  })
})

describe('what another repository has', () => {
  const blob = content('only in secret/hidden')
  beforeAll(async () => {
    const path = `/v2/secret/hidden/blobs/uploads/?digest=${blob.digest}`
    await guarded.send('POST', path, { headers: basic('root', 'r'), body: blob.bytes })
  })

  it.each(['', '&from=secret/hidden', '&from=secret/none'])(
    'is not told by a mount%s: an upload begins, as for what nobody has',
    async from => {
      const path = `/v2/team/a/blobs/uploads/?mount=${blob.digest}${from}`
      const answer = await guarded.send('POST', path, { headers: basic('bob', 'b') })
      expect(answer.status).toBe(202)
      const read = await guarded.send('GET', `/v2/team/a/blobs/${blob.digest}`, {
        headers: basic('bob', 'b'),
      })
      expect(read.status).toBe(404)
    },
  )

  it('is mounted for whoever may pull it there', async () => {
    const path = `/v2/team/a/blobs/uploads/?mount=${blob.digest}&from=secret/hidden`
    expect((await guarded.send('POST', path, { headers: basic('root', 'r') })).status).toBe(201)
  })

  it('is not mounted by a token that is not for the source', async () => {
    const own = content('in team/b')
    await guarded.send('POST', `/v2/team/b/blobs/uploads/?digest=${own.digest}`, {
      headers: basic('bob', 'b'),
      body: own.bytes,
    })
    const path = `/v2/team/c/blobs/uploads/?mount=${own.digest}&from=team/b`
    const narrow = await guarded.token(['repository:team/c:pull,push'], basic('bob', 'b'))
    expect((await guarded.send('POST', path, { headers: bearer(narrow) })).status).toBe(202)
    const wide = await guarded.token(
      ['repository:team/c:pull,push', 'repository:team/b:pull'],
      basic('bob', 'b'),
    )
    expect((await guarded.send('POST', path, { headers: bearer(wide) })).status).toBe(201)
  })

  it('is not in a catalog for whoever may not pull it', async () => {
    const catalog = async (headers: Record<string, string>) =>
      JSON.parse((await guarded.send('GET', '/v2/_catalog', { headers })).body.toString())
        .repositories
    expect(await catalog({})).toEqual(['public/a'])
    expect(await catalog(basic('bob', 'b'))).toEqual(
      expect.arrayContaining(['public/a', 'secret/a']),
    )
    expect(await catalog(basic('bob', 'b'))).not.toContain('secret/hidden')
    expect(await catalog(basic('root', 'r'))).toContain('secret/hidden')
    const token = await guarded.token(['registry:catalog:*'], basic('bob', 'b'))
    expect(await catalog(bearer(token))).toContain('secret/a')
  })
})

describe('files that change', () => {
  it('are read again by themselves; what cannot be used leaves the last in force', async () => {
    await using other = await openGuarded({ users, policy })
    const file = join(other.folder, 'users')
    const status = async (user: string, password: string) =>
      (await other.send('GET', '/v2/', { headers: basic(user, password) })).status
    expect(await status('bob', 'b')).toBe(200)
    const before = await readFile(file, 'utf8')
    await writeFile(file, `${before}\ncarol:{SHA}xyz\n`)
    await expect.poll(() => other.reloadFailures.length, { timeout: 5000 }).toBeGreaterThan(0)
    expect(String(other.reloadFailures[0])).toMatch(/line 7: the hash is not bcrypt/)
    expect(await status('bob', 'b')).toBe(200)
    await writeFile(file, htpasswd({ bob: 'new' }))
    await expect.poll(() => status('bob', 'new'), { timeout: 5000 }).toBe(200)
    // What was remembered of the old password is worth nothing now.
    expect([await status('bob', 'b'), await status('alice', 'a')]).toEqual([401, 401])
  })

  it('and a policy that is reloaded decides the next request, tokens of before included', async () => {
    await using other = await openGuarded({ users, policy })
    const token = await other.token(['repository:team/a:pull'], basic('bob', 'b'))
    const status = async () =>
      (await other.send('GET', '/v2/team/a/manifests/x', { headers: bearer(token) })).status
    expect(await status()).toBe(404)
    await writeFile(join(other.folder, 'policy.yaml'), 'policies: []\n')
    await other.access.reload()
    expect(await status()).toBe(403)
    await writeFile(join(other.folder, 'policy.yaml'), 'policies: [')
    await expect(other.access.reload()).rejects.toThrow(/Cannot use policy/)
    expect(await status()).toBe(403)
  })
})
