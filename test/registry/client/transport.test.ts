import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { pullImage } from '../../../src/registry/client/pull.ts'
import { resolveReference } from '../../../src/registry/client/resolve.ts'
import { createTransport, readBody } from '../../../src/registry/client/transport.ts'
import { fakeRegistry } from './fake-registry.ts'
import { amd64, bytesOf, makeImage, referenceAt, seed, testClient } from './images.ts'
import { serve, type TlsFiles } from './local-server.ts'
import { tunnelTo } from './tunnel-proxy.ts'

const options = {
  userAgent: 'tsbuild/test',
  connectMs: 1000,
  headersMs: 300,
  bodyIdleMs: 300,
  connectionsPerHost: 4,
}

async function withTransport<T>(
  work: (transport: ReturnType<typeof createTransport>) => Promise<T>,
): Promise<T> {
  const transport = createTransport(options)
  try {
    return await work(transport)
  } finally {
    await transport.close()
  }
}

function get(url: string, headers = {}) {
  return { method: 'GET', url: new URL(url), action: 'test', headers } as const
}

describe('redirects', () => {
  test('Authorization stays at its origin, and does not come back (CVE-2020-15157)', async () => {
    await using home = await serve((request, response) => {
      const isBack = request.url === '/back'
      if (isBack) response.writeHead(200).end('ok')
      else response.writeHead(307, { location: `${away.url}/blob?sig=x` }).end()
    })
    await using away = await serve((_, response) => {
      response.writeHead(307, { location: `${home.url}/back` }).end()
    })
    await withTransport(async transport => {
      const request = get(`${home.url}/`, { authorization: 'Basic secret', range: 'bytes=1-' })
      await using response = await transport.send(request)
      expect(response.status).toBe(200)
    })
    const sent = [home.seen[0], away.seen[0], home.seen[1]].map(seen => seen?.headers)
    expect(sent.map(headers => headers?.authorization)).toEqual([
      'Basic secret',
      undefined,
      undefined,
    ])
    expect(sent.map(headers => headers?.range)).toEqual(['bytes=1-', 'bytes=1-', 'bytes=1-'])
  })

  test('a redirect within the origin keeps Authorization', async () => {
    await using home = await serve((request, response) => {
      if (request.url === '/a') response.writeHead(302, { location: 'b' }).end()
      else response.writeHead(200).end()
    })
    await withTransport(async transport => {
      await using _ = await transport.send(get(`${home.url}/a`, { authorization: 'Basic x' }))
    })
    expect(home.seen[1]).toMatchObject({ path: '/b', headers: { authorization: 'Basic x' } })
  })

  test.each([
    ['a loop', '/again', 'more than 5 redirects'],
    ['another scheme', 'file:///etc/passwd', 'refusing to go from http: to file:'],
    ['nonsense', 'http://[', 'invalid Location "http://["'],
  ])('%s is refused', async (_, location, message) => {
    await using home = await serve((__, response) => {
      response.writeHead(307, { location }).end()
    })
    await withTransport(async transport => {
      const sending = transport.send(get(`${home.url}/`))
      await expect(sending).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringContaining(message),
      })
    })
  })

  test('a POST is repeated for 307 with its body, not turned into a GET for 302', async () => {
    const bodies: string[] = []
    await using home = await serve(async (request, response) => {
      const chunks = await request.toArray()
      bodies.push(`${request.method} ${request.url} ${Buffer.concat(chunks)}`)
      const status = request.url === '/307' ? 307 : request.url === '/302' ? 302 : 200
      response.writeHead(status, { location: '/end' }).end()
    })
    await withTransport(async transport => {
      for (const path of ['/307', '/302']) {
        const request = { ...get(`${home.url}${path}`), method: 'POST', body: Buffer.from('x') }
        await using response = await transport.send({ ...request, method: 'POST' })
        expect(response.status).toBe(path === '/307' ? 200 : 302)
      }
    })
    expect(bodies).toEqual(['POST /307 x', 'POST /end x', 'POST /302 x'])
  })

  test('a secret body is not repeated elsewhere', async () => {
    await using away = await serve((_, response) => void response.end())
    await using home = await serve((_, response) => {
      response.writeHead(307, { location: away.url }).end()
    })
    await withTransport(async transport => {
      const request = { ...get(home.url), method: 'POST', redirects: 'same-origin' } as const
      const sending = transport.send({ ...request, body: Buffer.from('refresh_token=x') })
      await expect(sending).rejects.toThrow('refusing to repeat it')
    })
    expect(away.seen).toEqual([])
  })
})

describe('limits', () => {
  test('an answer that does not start is given up', async () => {
    await using silent = await serve(() => {})
    await withTransport(async transport => {
      await expect(transport.send(get(silent.url))).rejects.toMatchObject({
        code: 'unavailable',
        isTransient: true,
        message: expect.stringContaining('no answer for too long'),
      })
    })
  })

  test('a body that stops is given up, one that trickles is not', async () => {
    await using slow = await serve((request, response) => {
      response.writeHead(200).flushHeaders()
      let left = request.url === '/stops' ? 2 : 5
      const timer = setInterval(() => {
        response.write('.')
        if (--left > 0) return
        clearInterval(timer)
        if (request.url === '/trickles') response.end()
      }, 150)
    })
    await withTransport(async transport => {
      const limits = { action: 'test', limit: 100 }
      await using trickling = await transport.send(get(`${slow.url}/trickles`))
      expect(await readBody(trickling, limits)).toHaveLength(5)
      await using stopped = await transport.send(get(`${slow.url}/stops`))
      await expect(readBody(stopped, limits)).rejects.toThrow('no data for too long')
    })
  })

  test('readBody() stops at the limit of an endless body', async () => {
    await using endless = await serve((_, response) => {
      const pour = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65536))) {}
      }
      response.on('drain', pour)
      pour()
    })
    await withTransport(async transport => {
      await using response = await transport.send(get(endless.url))
      await expect(readBody(response, { action: 'test', limit: 1_000_000 })).rejects.toMatchObject({
        code: 'too-large',
      })
    })
  })

  test('an upload that is read slowly goes on, one that is not read is given up', async () => {
    await using slow = await serve((request, response) => {
      if (request.url === '/never') return
      request.on('data', () => {
        request.pause()
        setTimeout(() => request.resume(), 4)
      })
      request.on('end', () => response.writeHead(201).end())
    })
    await withTransport(async transport => {
      const chunk = Buffer.alloc(512 * 1024)
      const body = async function* () {
        for (let count = 0; count < 64; count++) yield chunk
      }
      // Long enough to read what the kernel holds after the last byte was handed to it.
      const headersMs = 1000
      const upload = { ...get(`${slow.url}/slow`), method: 'PUT', body, headersMs } as const
      const started = Date.now()
      await using response = await transport.send(upload)
      expect(response.status).toBe(201)
      expect(Date.now() - started).toBeGreaterThan(2 * headersMs)
      const stalled = transport.send({ ...upload, url: new URL(`${slow.url}/never`) })
      await expect(stalled).rejects.toThrow('no answer for too long')
    })
  })

  test.each([
    ['and then reads on', false],
    ['and then hangs up', true],
  ])('an answer before the body was read is heard (%s)', async (_, hangsUp) => {
    let closed = 0
    await using early = await serve((request, response) => {
      response.writeHead(401, hangsUp ? { connection: 'close' } : {})
      response.end('{"errors":[]}')
      if (!hangsUp) request.resume()
    })
    await withTransport(async transport => {
      const body = async function* () {
        try {
          for (let count = 0; count < 64; count++) yield Buffer.alloc(1024 * 1024)
        } finally {
          closed += 1
        }
      }
      for (let count = 0; count < 5; count++) {
        await using response = await transport.send({ ...get(early.url), method: 'PUT', body })
        expect(response.status).toBe(401)
      }
    })
    expect(closed).toBe(5)
  })

  test('an abort ends a request with the reason of the signal', async () => {
    await using silent = await serve(() => {})
    const stop = new AbortController()
    await withTransport(async transport => {
      const sending = transport.send({ ...get(silent.url), signal: stop.signal })
      setTimeout(() => stop.abort(new Error('enough')), 50)
      await expect(sending).rejects.toThrow('enough')
    })
  })
})

describe('errors', () => {
  test('a refused connection says so, and is not tried again', async () => {
    await withTransport(async transport => {
      await expect(transport.send(get('http://127.0.0.1:1/x?secret'))).rejects.toMatchObject({
        message: 'Cannot test: 127.0.0.1:1: connection refused',
        isTransient: false,
      })
    })
  })

  test('an unknown host says so', async () => {
    await withTransport(async transport => {
      await expect(transport.send(get('http://no.such.host.invalid/'))).rejects.toThrow(
        /no such host|name lookup failed/,
      )
    })
  })

  test('https to a plain port hints at plain HTTP', async () => {
    await using plain = await serve((_, response) => void response.end())
    await withTransport(async transport => {
      await expect(transport.send(get(`https://${plain.host}/`))).rejects.toMatchObject({
        hint: expect.stringContaining('plain HTTP'),
      })
    })
  })
})

describe('TLS', () => {
  let directory: string
  let tls: TlsFiles
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'client-tls-'))
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=test'],
        ...['-addext', 'subjectAltName=IP:127.0.0.1,IP:192.0.2.1'],
      ],
      { stdio: 'ignore' },
    )
    tls = { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') }
  })
  afterAll(() => rm(directory, { recursive: true }))

  test('an unknown authority is refused, with what to do', async () => {
    await using registry = await fakeRegistry({ tls })
    await using client = testClient({ endpoints: { https: 'all' } })
    const resolving = resolveReference(client, referenceAt(registry.host))
    await expect(resolving).rejects.toMatchObject({
      code: 'unavailable',
      hint: 'Trust the certificate of its authority',
    })
  })

  test.each([
    ['its authority is given', (): object => ({ network: { ca: [tls.cert] } })],
    ['it is named insecure', (): object => ({ endpoints: { https: 'all', insecure: 'all' } })],
  ])('a self-signed registry is used when %s', async (_, extra) => {
    await using registry = await fakeRegistry({ tls })
    const image = await makeImage([bytesOf(100, 1)])
    await seed(registry, image)
    await using client = testClient({ endpoints: { https: 'all' }, ...extra() })
    const into = memoryStore()
    const pulled = await pullImage(client, referenceAt(registry.host), {
      platform: amd64,
      into,
      layers: 'all',
    })
    expect(pulled.descriptor).toEqual(image.root)
  })

  test('insecure counts for the hosts it names only', async () => {
    await using registry = await fakeRegistry({ tls })
    await using client = testClient({ endpoints: { https: 'all', insecure: ['other:5000'] } })
    await expect(resolveReference(client, referenceAt(registry.host))).rejects.toMatchObject({
      code: 'unavailable',
    })
  })

  test('a redirect from https to http is refused', async () => {
    await using plain = await serve((_, response) => void response.end())
    await using registry = await serve((_, response) => {
      response.writeHead(307, { location: plain.url }).end()
    }, tls)
    await using client = testClient({
      endpoints: { https: 'all' },
      network: { ca: [tls.cert] },
    })
    await expect(resolveReference(client, referenceAt(registry.host))).rejects.toThrow(
      'refusing to go from https: to http:',
    )
    expect(plain.seen).toEqual([])
  })

  test('a proxy carries https through a tunnel and http as absolute URLs', async () => {
    await using registry = await fakeRegistry({ tls })
    await using proxy = await tunnelTo(registry.host)
    const { asked, url } = proxy
    const image = await makeImage([])
    await seed(registry, image)
    await using client = testClient({
      endpoints: { plainHttp: ['plain.example'], insecure: 'all' },
      network: { proxies: { http: url, https: url } },
    })
    const resolved = await resolveReference(client, referenceAt('registry.example:5000'))
    expect(resolved.descriptor).toEqual(image.root)
    await expect(resolveReference(client, referenceAt('plain.example'))).rejects.toMatchObject({
      status: 404,
    })
    const auth = `Basic ${Buffer.from('me:pw').toString('base64')}`
    expect(asked[0]).toBe(`CONNECT registry.example:5000 ${auth}`)
    expect(asked.at(-1)).toBe(`GET http://plain.example/v2/team/app/manifests/latest ${auth}`)
  })

  test('a certificate seen through a tunnel is held against the name or address asked for', async () => {
    await using registry = await fakeRegistry({ tls })
    await using proxy = await tunnelTo(registry.host)
    const image = await makeImage([])
    await seed(registry, image)
    await using client = testClient({
      endpoints: { https: 'all' },
      network: { ca: [tls.cert], proxies: { https: proxy.url } },
    })
    const resolved = await resolveReference(client, referenceAt('192.0.2.1:5000'))
    expect(resolved.descriptor).toEqual(image.root)
    for (const other of ['192.0.2.2:5000', 'registry.example:5000', 'localhost.example:5000']) {
      await expect(resolveReference(client, referenceAt(other))).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining("does not match certificate's altnames"),
      })
    }
  })
})
