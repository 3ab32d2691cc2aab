/** The upstream fails in every way; clients get what the table of `upstream/failure.ts` says. */
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { listAll } from '../../../../src/registry/storage/object-store.ts'
import { createRegistryStorage } from '../../../../src/registry/storage/registry-storage.ts'
import { sendJson } from '../../client/local-server.ts'
import { content } from '../contents.ts'
import { type Fault, putImage, startThrough, startUpstream } from './through.ts'

const layer = content(randomBytes(300_000))

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

const tooMany: Fault = (_, response) => {
  response.writeHead(429, { 'retry-after': '77' })
  response.end('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}')
  return true
}

/** Asks for a token, and the token server answers with the status. */
function tokenServerThat(status: number, realm = ''): Fault {
  return (request, response) => {
    if (request.url?.startsWith('/token')) {
      response.writeHead(status, { 'retry-after': '33' }).end('{}')
    } else {
      const at = realm || `http://${request.headers.host}/token`
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${at}",service="s"` }).end()
    }
    return true
  }
}

const torn: Fault = (_, response) => {
  response.writeHead(200, { 'content-length': 1000, 'content-type': 'application/json' })
  response.write('{')
  setTimeout(() => response.destroy(), 5)
  return true
}

/** What is wrong with the upstream, and what a client without a copy is told. */
const failures: readonly (readonly [string, Fault, number])[] = [
  ['hangs up', (_, response) => Boolean(response.destroy()), 503],
  ['is slow', () => true, 503],
  ['answers 429', tooMany, 429],
  ['answers 429 at its token server', tokenServerThat(429), 429],
  ['answers 500 at its token server', tokenServerThat(500), 503],
  ['answers 404 at its token server', tokenServerThat(404), 502],
  ['answers 503', (_, response) => Boolean(response.writeHead(503).end()), 503],
  ['tears its bodies', torn, 503],
  [
    'redirects in a loop',
    (request, response) => Boolean(response.writeHead(307, { location: request.url }).end()),
    502,
  ],
  [
    'redirects to the metadata of the cloud',
    (_, response) =>
      Boolean(response.writeHead(307, { location: 'http://169.254.169.254/latest/' }).end()),
    503,
  ],
  [
    'redirects to another scheme',
    (_, response) => Boolean(response.writeHead(307, { location: 'file:///etc/passwd' }).end()),
    502,
  ],
  [
    'names a token server in the private network',
    tokenServerThat(200, 'http://10.0.0.1/token'),
    503,
  ],
  [
    'asks for a login that nobody has',
    (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
      return true
    },
    503,
  ],
  [
    'gives what is no manifest',
    (request, response) => {
      const type = 'application/vnd.oci.image.manifest.v1+json'
      response.writeHead(200, { 'content-type': type })
      response.end(request.method === 'HEAD' ? undefined : '<html>Please accept our terms</html>')
      return true
    },
    502,
  ],
  [
    'gives other bytes than it says',
    (request, response) => {
      const type = 'application/vnd.oci.image.index.v1+json'
      const body = `{"schemaVersion":2,"mediaType":"${type}","manifests":[]}`
      response.writeHead(200, { 'content-type': type, 'docker-content-digest': layer.digest })
      response.end(request.method === 'HEAD' ? undefined : body)
      return true
    },
    502,
  ],
  [
    'gives a manifest without end',
    (request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const send = () => {
        if (!response.destroyed) response.write(Buffer.alloc(65_536, 32), send)
      }
      if (request.method === 'HEAD') response.end()
      else send()
      return true
    },
    502,
  ],
]

describe('an upstream that fails', () => {
  test.for(failures)('%s: a client gets the copy, stale', async ([, fault]) => {
    const { upstream, registry } = await start()
    const image = putImage(upstream, 'v1', [layer])
    expect((await registry.send('GET', '/v2/up/app/manifests/v1')).status).toBe(200)
    await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
    upstream.fault = fault
    for (let time = 0; time < 2; time++) {
      const manifest = await registry.send('GET', '/v2/up/app/manifests/v1')
      expect(manifest.body.equals(image.bytes)).toBe(true)
      const blob = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
      expect(blob.body.equals(layer.bytes)).toBe(true)
    }
    expect(registry.events.failed.map(({ hasCopy }) => hasCopy)).toEqual([true])
    expect(registry.events.served.filter(({ how }) => how === 'stale')).toHaveLength(2)
  })

  test.for(failures)('%s: a client without a copy is told so', async ([, fault, status]) => {
    const { upstream, registry } = await start({
      timeouts: { headersMs: 200, connectMs: 200, bodyIdleMs: 200 },
    })
    upstream.fault = fault
    const answer = await registry.send('GET', '/v2/up/app/manifests/v1')
    expect(answer.status).toBe(status)
    expect(answer.json().errors[0]?.message).toMatch(/^Cannot /)
    expect(registry.events.failed[0]?.hasCopy).toBe(false)
    const kept = []
    for await (const key of listAll(registry.objects, 'r/')) kept.push(key)
    expect(kept).toEqual([])
  })
})

describe('an upstream that limits requests', () => {
  test.for([
    ['itself', tooMany, '77'],
    ['by its token server', tokenServerThat(429), '33'],
  ] as const)(
    '%s is left alone as long as it says, and clients are told',
    async ([, fault, seconds]) => {
      const { upstream, registry } = await start()
      upstream.fault = fault
      const answer = await registry.send('GET', '/v2/up/app/manifests/v1')
      expect(answer.headers['retry-after']).toBe(seconds)
      expect(answer.json().errors[0]?.code).toBe('TOOMANYREQUESTS')
      upstream.requests()
      const again = await registry.send('GET', '/v2/up/other/manifests/v2')
      expect(again.status).toBe(429)
      const blob = await registry.send('GET', `/v2/up/other/blobs/${layer.digest}`)
      expect(blob.status).toBe(429)
      expect(upstream.requests()).toEqual([])
    },
  )
})

describe('an upstream that lets us not in', () => {
  const refusing: Fault = (_, response) => {
    sendJson(response, 403, { errors: [{ code: 'DENIED', message: 'no' }] })
    return true
  }

  test('has nothing for us when we came without credentials, and nothing of it is given by its tag', async () => {
    const { upstream, registry } = await start()
    putImage(upstream, 'v1', [layer])
    await registry.send('GET', '/v2/up/app/manifests/v1')
    upstream.fault = refusing
    expect((await registry.send('GET', '/v2/up/app/manifests/v1')).status).toBe(404)
    expect((await registry.send('GET', '/v2/up/other/manifests/v1')).status).toBe(404)
  })

  test('is failing when we came with credentials: the copy is given', async () => {
    const credentials = async () => ({ kind: 'password', username: 'u', password: 'p' }) as const
    const { upstream, registry } = await start({ credentials })
    putImage(upstream, 'v1', [layer])
    await registry.send('GET', '/v2/up/app/manifests/v1')
    upstream.fault = refusing
    expect((await registry.send('GET', '/v2/up/app/manifests/v1')).status).toBe(200)
    expect((await registry.send('GET', '/v2/up/other/manifests/v1')).status).toBe(503)
  })
})

/** Blobs: what the upstream sends in the place of the layer. */
const wrongBlobs: readonly (readonly [string, Fault])[] = [
  ['other bytes', (_, response) => Boolean(response.end(Buffer.alloc(layer.bytes.length)))],
  [
    'a body that ends early, again and again',
    (_, response) => {
      response.writeHead(200, { 'content-length': layer.bytes.length })
      response.write(layer.bytes.subarray(0, 1000))
      setTimeout(() => response.destroy(), 5)
      return true
    },
  ],
  ['fewer bytes, and says so', (_, response) => Boolean(response.end(layer.bytes.subarray(1)))],
  ['more bytes', (_, response) => Boolean(response.end(Buffer.concat([layer.bytes, layer.bytes])))],
  [
    'a body without end',
    (_, response) => {
      const send = () => {
        if (!response.destroyed) response.write(layer.bytes, send)
      }
      send()
      return true
    },
  ],
]

async function storedKeys(registry: { objects: Parameters<typeof listAll>[0] }, prefix: string) {
  const keys = []
  for await (const key of listAll(registry.objects, prefix)) keys.push(key)
  return keys
}

describe('a blob of which the upstream sends', () => {
  test.for(wrongBlobs)('%s never arrives whole, and nothing of it is kept', async ([, fault]) => {
    const { upstream, registry } = await start()
    putImage(upstream, 'v1', [layer])
    await registry.send('GET', '/v2/up/app/manifests/v1')
    upstream.fault = fault
    const got = await registry
      .send('GET', `/v2/up/app/blobs/${layer.digest}`)
      .then(({ status, body }) => (status === 200 ? body.length : 0))
      .catch(() => 0)
    expect(got).toBeLessThan(layer.bytes.length)
    await expect.poll(() => storedKeys(registry, 'u/')).toEqual([])
    expect(await storedKeys(registry, 'd/')).toEqual([])
    expect(await storedKeys(registry, 'r/up/app/_b/')).toEqual([])
    upstream.fault = undefined
    const right = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
    expect(right.body.equals(layer.bytes)).toBe(true)
  })

  test('the beginning, before its connection breaks, is fetched from there on', async () => {
    const { upstream, registry } = await start()
    upstream.put(layer)
    let count = 0
    upstream.fault = (request, response) => {
      if (count++ > 0) {
        const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1])
        const range = `bytes ${start}-${layer.bytes.length - 1}/${layer.bytes.length}`
        response.writeHead(206, { 'content-range': range }).end(layer.bytes.subarray(start))
        return true
      }
      response.writeHead(200, { 'content-length': layer.bytes.length })
      response.write(layer.bytes.subarray(0, 100_000))
      setTimeout(() => response.destroy(), 20)
      return true
    }
    const answer = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
    expect(answer.body.equals(layer.bytes)).toBe(true)
    expect(count).toBe(2)
  })
})

describe('a storage that is full', () => {
  test('lets clients have what they ask for', async () => {
    const { upstream, registry } = await start()
    const image = putImage(upstream, 'v1', [layer])
    const { objects } = createRegistryStorage(registry.objects)
    const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    Object.assign(objects, { put: () => Promise.reject(full), append: () => Promise.reject(full) })
    const manifest = await registry.send('GET', '/v2/up/app/manifests/v1')
    expect(manifest.body.equals(image.bytes)).toBe(true)
    const blob = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
    expect(blob.body.equals(layer.bytes)).toBe(true)
    expect(registry.events.notKept).toHaveLength(1)
  })
})
