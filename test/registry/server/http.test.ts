import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { OciError } from '../../../src/oci/errors.ts'
import { openAccess } from '../../../src/registry/server/access/access.ts'
import { routes } from '../../../src/registry/server/routes.ts'
import { content, imageOf, pushBlob, pushManifest, startUpload } from './contents.ts'
import { startRegistry, type TestRegistry } from './registry-server.ts'

const registry = await startRegistry()
afterAll(() => registry[Symbol.asyncDispose]())
const { send, raw } = registry

describe('every reply', () => {
  it('has the version, nosniff and a policy, errors included', async () => {
    for (const target of ['/v2/', '/v2/a/manifests/none', '/v2/A/manifests/x', '/other']) {
      expect((await send('GET', target)).headers).toMatchObject({
        'docker-distribution-api-version': 'registry/2.0',
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none'; sandbox",
      })
    }
  })

  it('with an error has the spec body', async () => {
    const answer = await send('GET', '/v2/a/manifests/none')
    expect(answer.headers['content-type']).toBe('application/json')
    expect(answer.json()).toEqual({
      errors: [
        {
          code: 'MANIFEST_UNKNOWN',
          message: 'Cannot find manifest "none" in repository "a"',
          detail: { reference: 'none' },
        },
      ],
    })
    const head = await send('HEAD', '/v2/a/manifests/none')
    expect([head.status, head.body.length]).toEqual([404, 0])
  })

  it.each(['TRACE', 'OPTIONS', 'DELETE', 'POST'])('to %s /v2/ is 405 with Allow', async method => {
    const answer = await send(method, '/v2/')
    expect(answer.status).toBe(405)
    expect(answer.headers.allow).toBe('GET, HEAD')
  })

  it('takes nothing from Host: locations are relative, and so are links', async () => {
    const headers = { host: 'evil.example', 'x-forwarded-host': 'evil.example' }
    const post = await send('POST', '/v2/a/blobs/uploads/', { headers })
    expect(post.headers.location).toMatch(/^\/v2\/a\/blobs\/uploads\//)
    for (const reference of ['t1', 't2']) {
      await pushManifest(registry, { repository: 'a', reference }, imageOf([]))
    }
    const list = await send('GET', '/v2/a/tags/list?n=1', { headers })
    expect(list.headers.link).toBe('</v2/a/tags/list?n=1&last=t1>; rel="next"')
  })

  it('carries no line break that came in a query', async () => {
    const injected = encodeURIComponent('a/b\r\nSet-Cookie: x=y')
    const { digest } = content('x')
    const answer = await send('GET', `/v2/a/referrers/${digest}?artifactType=${injected}&n=0`)
    expect(answer.status).toBe(200)
    expect(answer.headers['set-cookie']).toBeUndefined()
  })

  it('tells nothing of a failure of the storage', async () => {
    const { objects } = registry
    const broken = new Proxy(objects, {
      get: (target, name) =>
        name === 'get' || name === 'size'
          ? () => Promise.reject(Object.assign(new Error('secret path'), { code: 'EWHATEVER' }))
          : memberOf(target, name),
    })
    await using failing = await startRegistry({ objects: broken })
    const answer = await failing.send('GET', '/v2/a/manifests/x')
    expect([answer.status, answer.json().errors[0]?.code]).toEqual([500, 'UNKNOWN'])
    expect(answer.body.toString()).not.toMatch(/secret|Error:|at /)
    expect(failing.failures).toHaveLength(1)
  })

  it.each(['ENOSPC', 'EROFS', 'EMFILE'])('to a storage with %s is 503', async code => {
    const full = new Proxy(registry.objects, {
      get: (target, name) =>
        name === 'append'
          ? () => Promise.reject(Object.assign(new Error('no'), { code }))
          : memberOf(target, name),
    })
    await using failing = await startRegistry({ objects: full })
    const answer = await pushBlob(failing, 'a', content('x'))
    expect([answer.status, answer.json().errors[0]?.code]).toEqual([503, 'UNAVAILABLE'])
  })
})

describe('access', () => {
  it('is asked for every route, with the parsed repository, before the handler', async () => {
    const asked: string[] = []
    await using guarded = await startRegistry({
      access: {
        ...openAccess,
        admit: async (_, { action, repository }) => {
          asked.push(`${action} ${repository ?? '-'}`)
          if (action !== 'none') throw new OciError('denied', 'No')
          return { may: () => false }
        },
      },
    })
    const id = '0b4fa5a3-6a80-4a3a-9d9f-1b8a2f3c4d5e'
    const { digest } = content('x')
    const targets: Record<string, string> = {
      base: '/v2/',
      catalog: '/v2/_catalog',
      extensions: '/v2/_oci/ext/discover',
      blob: `/v2/a/b/blobs/${digest}`,
      uploads: '/v2/a/b/blobs/uploads/',
      upload: `/v2/a/b/blobs/uploads/${id}`,
      manifest: '/v2/a/b/manifests/x',
      tags: '/v2/a/b/tags/list',
      referrers: `/v2/a/b/referrers/${digest}`,
      'tag-history': '/v2/a/b/_tsregistry/tags/x/history',
      'tag-undo': '/v2/a/b/_tsregistry/tags/x/undo',
    }
    for (const route of routes) {
      asked.length = 0
      const answer = await guarded.send(route.method, targets[route.kind] ?? '')
      expect(answer.status).toBe(route.action === 'none' ? 200 : 403)
      const repository = ['base', 'catalog', 'extensions'].includes(route.kind) ? '-' : 'a/b'
      expect(asked).toEqual([`${route.action} ${repository}`])
    }
  })

  it('to the source of a mount is asked for; without it the blob is not there', async () => {
    const blob = content('private')
    await using guarded = await startRegistry({
      access: { ...openAccess, admit: async () => ({ may: (_, name) => name !== 'secret' }) },
    })
    await pushBlob(guarded, 'secret', blob)
    for (const from of ['', '&from=secret']) {
      const answer = await guarded.send(
        'POST',
        `/v2/mine/blobs/uploads/?mount=${blob.digest}${from}`,
      )
      expect(answer.status).toBe(202)
    }
    expect((await guarded.send('GET', `/v2/mine/blobs/${blob.digest}`)).status).toBe(404)
  })

  it('decides what the catalog shows', async () => {
    await using guarded = await startRegistry({
      access: { ...openAccess, admit: async () => ({ may: (_, name) => name !== 'secret' }) },
    })
    for (const repository of ['open', 'secret']) {
      await pushManifest(guarded, { repository, reference: 'x' }, imageOf([]))
    }
    const answer = await guarded.send('GET', '/v2/_catalog')
    expect(JSON.parse(answer.body.toString())).toEqual({ repositories: ['open'] })
  })
})

describe('the wire', () => {
  const post = 'POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n'

  it.each([
    ['both lengths', `${post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['two lengths', `${post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`],
    ['a folded header', `${post}X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n`],
    ['bare line feeds', 'GET /v2/ HTTP/1.1\nHost: x\n\n'],
    ['a space before the colon', `${post}Content-Length : 0\r\n\r\n`],
    ['two hosts', 'GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['no host', 'GET /v2/ HTTP/1.1\r\n\r\n'],
    ['a line break in the target', 'GET /v2/\rx HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['16 KiB of headers', `GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`],
  ])('refuses %s', async (_, text) => {
    expect(await raw(text)).toMatch(/^HTTP\/1\.1 4(?:00|31) /)
  })

  // Who before us takes one of these for the end of a body sees another request behind it.
  it.each([
    ['an unknown coding', 'Transfer-Encoding: xchunked'],
    ['two codings', 'Transfer-Encoding: gzip, chunked'],
    ['two codings in two lines', 'Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked'],
    ['a coding that is none', 'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked'],
    ['an empty coding', 'Transfer-Encoding: , chunked'],
    ['chunks twice', 'Transfer-Encoding: chunked, chunked'],
    ['chunks that are not last', 'Transfer-Encoding: chunked, gzip'],
    ['quoted chunks', 'Transfer-Encoding: "chunked"'],
    ['chunks with a parameter', 'Transfer-Encoding: chunked;q=1'],
  ])('refuses %s, and what is sent behind it', async (_, header) => {
    const answer = await raw(
      `${post}${header}\r\n\r\n0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n`,
    )
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual([expect.stringMatching(/400|501/)])
    expect(answer).toMatch(/^Connection: close\r$/m)
  })

  it('takes chunks in whatever letters, but not of HTTP 1.0, which has none', async () => {
    const request = `${post}Connection: close\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n`
    expect(await raw(request)).toMatch(/^HTTP\/1\.1 202 /)
    expect(await raw(request.replace('HTTP/1.1', 'HTTP/1.0'))).toMatch(/^HTTP\/1\.1 400 /)
  })

  it('hangs up on who sends no request, and does not wait for them to agree', async () => {
    const socket = connect({ port: registry.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.write('no request\r\n\r\n')
    await new Promise(resolve => socket.on('end', resolve).resume())
    // Our side stays open: what we write is answered by a reset.
    const reset = new Promise(resolve => socket.on('error', resolve))
    const timer = setInterval(() => socket.write('x'), 20)
    await reset
    clearInterval(timer)
  })

  it('reads an absolute-form target by its path', async () => {
    const answer = await raw(
      'GET http://evil.example/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(answer).not.toMatch(/evil/)
  })

  it('speaks HTTP 1 only', async () => {
    expect(await raw('GET /v2/ HTTP/2.0\r\nHost: x\r\n\r\n')).toMatch(/^HTTP\/1\.1 505 /)
    expect(await raw('GET /v2/ HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 /)
  })

  it('answers HEAD as GET without the body, everywhere', async () => {
    const paths = ['/v2/', '/v2/_catalog', '/v2/_oci/ext/discover', '/v2/none/tags/list']
    for (const path of [...paths, '/v2/none/manifests/x', '/v2/none/_tsregistry/tags/x/history']) {
      const [got, asked] = [await registry.send('GET', path), await registry.send('HEAD', path)]
      expect(asked.body).toHaveLength(0)
      expect({ ...asked.headers, date: '' }).toEqual({ ...got.headers, date: '' })
      expect(asked.status).toBe(got.status)
    }
  })

  it.each([
    '/v2/%',
    '/v2/\u00ff/tags/list',
    '//v2/',
    '/v2/a/tags/list?n=%',
    '/v2/?%00',
    '*',
    '/%2e%2e/',
  ])('answers %j and lives', async target => {
    const answer = await raw(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1\.1 [24]/)
  })

  it('asks for a body only when it will be read (Expect: 100-continue)', async () => {
    const location = await startUpload(registry, 'expect')
    const expecting = (target: string) =>
      `PATCH ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n`
    expect(await raw(expecting(location))).toMatch(/^HTTP\/1\.1 100 Continue/)
    const unknown = location.replace(/[^/]+$/, '0b4fa5a3-6a80-4a3a-9d9f-1b8a2f3c4d5e')
    const refused = await raw(expecting(unknown))
    expect(refused).toMatch(/^HTTP\/1\.1 404 /)
    expect(refused).toMatch(/\r\nConnection: close\r\n/)
  })

  it('cuts off who sends too slowly, and keeps what came', async () => {
    await using own = await startRegistry({ slowestSender: { bytes: 1000, everyMs: 100 } })
    const location = await startUpload(own, 'slow')
    const started = performance.now()
    const head = `PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc`
    expect(await own.raw(head, 5000)).toBe('')
    expect(performance.now() - started).toBeLessThan(2000)
    await expect.poll(async () => (await own.send('GET', location)).headers.range).toBe('0-2')
    expect(own.failures).toEqual([])
  })

  it('gives an early answer to a client that is still sending', async () => {
    const answer = await early(registry, 8 * 1024 * 1024)
    expect(answer).toMatch(/^HTTP\/1\.1 404 /)
    expect(answer).toMatch(/BLOB_UPLOAD_UNKNOWN/)
  })

  it('lets a download end when the client goes away', async () => {
    const blob = content(Buffer.alloc(8 * 1024 * 1024))
    await pushBlob(registry, 'away', blob)
    for (let i = 0; i < 5; i++) {
      await raw(`GET /v2/away/blobs/${blob.digest} HTTP/1.1\r\nHost: x\r\n\r\n`, 20)
    }
    expect((await send('GET', `/v2/away/blobs/${blob.digest}`)).body.length).toBe(blob.bytes.length)
    expect(registry.failures).toEqual([])
  })

  it('finishes requests under way when it is closed, and takes no more', async () => {
    const own = await startRegistry()
    const location = await startUpload(own, 'drain')
    const socket = connect(own.port, '127.0.0.1')
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc`)
    let seen = ''
    socket.on('data', chunk => {
      seen += chunk
    })
    const ended = new Promise(resolve => socket.on('close', resolve))
    await sleep(100)
    const closed = own.close(5000)
    await sleep(50)
    await expect(own.send('GET', '/v2/')).rejects.toThrow()
    socket.write('def')
    const before = performance.now()
    await closed
    await ended
    expect(performance.now() - before).toBeLessThan(2000)
    expect(seen).toMatch(/^HTTP\/1\.1 202 /)
  })
})

/** Sends all of a large body to an unknown upload before it reads, as some clients do. */
function early(to: TestRegistry, size: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(to.port, '127.0.0.1')
    let seen = ''
    socket.on('error', reject)
    socket.pause()
    const path = '/v2/a/blobs/uploads/0b4fa5a3-6a80-4a3a-9d9f-1b8a2f3c4d5e'
    socket.write(`PATCH ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`)
    socket.write(Buffer.alloc(size), () => {
      socket.on('data', chunk => {
        seen += chunk
        if (seen.includes(']}')) socket.end()
      })
      socket.on('close', () => resolve(seen))
      socket.resume()
    })
  })
}

function memberOf<T extends object>(target: T, name: string | symbol): unknown {
  const member: unknown = Reflect.get(target, name)
  return typeof member === 'function' ? member.bind(target) : member
}
