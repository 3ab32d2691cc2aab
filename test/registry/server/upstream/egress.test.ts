/** What an upstream may make us ask, whom, and with which credentials. */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { afterEach, describe, expect, test } from 'vitest'
import { isPublicAddress, lookupPublic } from '../../../../src/registry/client/address-guard.ts'
import { sendJson, serve } from '../../client/local-server.ts'
import { content, imageOf } from '../contents.ts'
import { putImage, startThrough, startUpstream, type TestUpstream } from './through.ts'

const layer = content(randomBytes(300_000))
const other = content(randomBytes(1000))

const open: AsyncDisposable[] = []

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function start(settings: Partial<Parameters<typeof startThrough>[0]> = {}) {
  const upstream = await startUpstream()
  open.push(upstream)
  const registry = await startThrough({ url: upstream.url, ...settings })
  open.push(registry)
  return { upstream, registry }
}

describe('a redirect of a blob', () => {
  async function redirecting(upstream: TestUpstream) {
    const storage = await serve((_, response) => void response.end(layer.bytes))
    open.push(storage)
    upstream.fault = (request, response) => {
      if (!request.url?.includes('/blobs/')) return false
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
        return true
      }
      response.writeHead(307, { location: `${storage.url}/presigned?secret=1` }).end()
      return true
    }
    return storage
  }
  const credentials = async () => ({ kind: 'password', username: 'u', password: 'p' }) as const

  test('to a host that the configuration names is followed, without credentials', async () => {
    const { upstream } = await start()
    const storage = await redirecting(upstream)
    const registry = await startThrough({
      url: upstream.url,
      credentials,
      redirectHosts: [storage.host],
    })
    open.push(registry)
    const answer = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
    expect(answer.body.equals(layer.bytes)).toBe(true)
    expect(upstream.seen.at(-1)?.headers.authorization).toMatch(/^Basic /)
    expect(storage.seen.map(({ headers }) => headers.authorization)).toEqual([undefined])
  })

  test('to another service of this machine is not followed', async () => {
    const { upstream, registry } = await start({ credentials })
    const storage = await redirecting(upstream)
    const answer = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
    expect(answer.status).toBe(503)
    expect(answer.json().errors[0]?.message).toMatch(/private network/)
    expect(storage.seen).toEqual([])
    // Whoever has a presigned address may read what it names.
    expect(answer.body.toString()).not.toContain('presigned')
    const [{ error } = { error: '' }] = registry.events.failed
    expect(String(error)).not.toContain('presigned')
  })
})

describe('credentials of an upstream', () => {
  const credentials = async () =>
    ({ kind: 'password', username: 'u', password: 'hunter2' }) as const

  async function withTokenServer(settings: { isTheirs: boolean; tokenServer?: boolean }) {
    const tokens = await serve((_, response) => sendJson(response, 200, { token: 'good' }))
    open.push(tokens)
    const { upstream, registry } = await start({
      ...(settings.isTheirs ? { credentials } : {}),
      ...(settings.tokenServer ? { tokenServer: tokens.host } : { redirectHosts: [tokens.host] }),
    })
    putImage(upstream, 'v1', [layer])
    upstream.fault = (request, response) => {
      if (request.headers.authorization === 'Bearer good') return false
      response
        .writeHead(401, { 'www-authenticate': `Bearer realm="${tokens.url}/token",service="s"` })
        .end()
      return true
    }
    const answer = await registry.send('GET', '/v2/up/app/manifests/v1')
    return { answer, seen: tokens.seen, registry }
  }

  test('never go to a token server that the upstream names and nobody configured (CVE-2026-33540)', async () => {
    const { answer, seen } = await withTokenServer({ isTheirs: true })
    expect(answer.status).toBe(503)
    expect(answer.json().errors[0]?.message).toMatch(/which the credentials are not for/)
    expect(seen).toEqual([])
  })

  test('go to the token server that is configured', async () => {
    const { answer, seen } = await withTokenServer({ isTheirs: true, tokenServer: true })
    expect(answer.status).toBe(200)
    const basic = Buffer.from('u:hunter2').toString('base64')
    expect(seen[0]?.headers.authorization).toBe(`Basic ${basic}`)
  })

  test('that there are none are asked for anywhere: a token for nobody is no secret', async () => {
    const { answer, seen } = await withTokenServer({ isTheirs: false })
    expect(answer.status).toBe(200)
    expect(seen[0]?.headers.authorization).toBe(undefined)
  })

  test('of a client never reach the upstream', async () => {
    const { upstream, registry } = await start()
    putImage(upstream, 'v1', [layer])
    const headers = { authorization: 'Basic c2VjcmV0OnNlY3JldA==', cookie: 'a=b' }
    await registry.send('GET', '/v2/up/app/manifests/v1', { headers })
    await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`, { headers })
    for (const { headers: sent } of upstream.seen) {
      expect(sent.authorization).toBe(undefined)
      expect(sent.cookie).toBe(undefined)
    }
  })
})

describe('layers that are not distributed', () => {
  test('are never fetched from where their urls say', async () => {
    const { upstream, registry } = await start()
    const elsewhere = await serve((_, response) => void response.end(other.bytes))
    open.push(elsewhere)
    const foreign = {
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest: other.digest,
      size: other.bytes.length,
      urls: [`${elsewhere.url}/layer`],
    }
    const image = imageOf([layer], { layers: [foreign] })
    upstream.put(image, 'v1')
    const manifest = await registry.send('GET', '/v2/up/app/manifests/v1')
    expect(manifest.body.equals(image.bytes)).toBe(true)
    expect((await registry.send('GET', `/v2/up/app/blobs/${other.digest}`)).status).toBe(404)
    expect(elsewhere.seen).toEqual([])
  })
})

describe('a name', () => {
  const resolve = (name: string) =>
    new Promise<string>(resolve =>
      lookupPublic(name, { all: false }, (error, address) =>
        resolve(error === null ? String(address) : error.message),
      ),
    )

  test('is judged by what it resolves to as the connection is made (DNS rebinding)', async () => {
    expect(await resolve('localhost')).toMatch(/private network/)
    expect(await resolve(hostname())).toMatch(/private network|ENOTFOUND|EAI_AGAIN/)
  })
})

describe('an address', () => {
  test.for([
    '127.0.0.1',
    '10.1.2.3',
    '169.254.169.254',
    '100.64.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '0.0.0.0',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'fd00:ec2::254',
    '::ffff:127.0.0.1',
    '::ffff:a9fe:a9fe',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    'localhost',
  ])('%s is no public one', address => {
    expect(isPublicAddress(address)).toBe(false)
  })

  test.for(['1.1.1.1', '172.32.0.1', '2606:4700::1111', '64:ff9b::101:101', '2002:101:101::'])(
    '%s is a public one',
    address => {
      expect(isPublicAddress(address)).toBe(true)
    },
  )
})
