import { describe, expect, test } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { fetchBlob } from '../../../src/registry/client/blob.ts'
import { pullImage } from '../../../src/registry/client/pull.ts'
import { resolveReference } from '../../../src/registry/client/resolve.ts'
import { type FakeOptions, fakeRegistry } from './fake-registry.ts'
import {
  amd64,
  bytesOf,
  type Image,
  makeImage,
  putDocument,
  referenceAt,
  seed,
  seedManifest,
  testClient,
} from './images.ts'
import { sendJson, serve } from './local-server.ts'

type Before = NonNullable<FakeOptions['before']>

async function pullFrom(before: Before, image: Image, tag = 'latest') {
  await using registry = await fakeRegistry({ before })
  await seed(registry, image, tag)
  await using client = testClient({ network: { timeouts: { headersMs: 500, bodyIdleMs: 300 } } })
  const into = memoryStore()
  const reference = referenceAt(registry.host, `team/app:${tag}`)
  const pulling = pullImage(client, reference, { platform: amd64, into, layers: 'all' })
  const outcome = await pulling.then(
    pulled => ({ pulled }),
    (error: unknown) => ({ error }),
  )
  return { ...outcome, into, seen: registry.seen }
}

async function drain(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of chunks) {
  }
}

const isLayer = (image: Image, url = '') => url.endsWith(`/blobs/${image.layers[0]?.digest}`)

describe('retries', () => {
  test('429 is obeyed: Retry-After, then again', async () => {
    const image = await makeImage([bytesOf(100, 1)])
    const times: number[] = []
    const { pulled } = (await pullFrom((request, response) => {
      if (!isLayer(image, request.url)) return false
      times.push(Date.now())
      if (times.length > 1) return false
      response.writeHead(429, { 'retry-after': '1' }).end()
      return true
    }, image)) as { pulled: unknown }
    expect(pulled).toBeDefined()
    expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(990)
  })

  test('a long Retry-After is an error at once, with a hint', async () => {
    const image = await makeImage([])
    const { error, seen } = (await pullFrom((_, response) => {
      sendJson(response.setHeader('retry-after', '3600'), 429, {
        errors: [{ code: 'TOOMANYREQUESTS', message: 'pull rate limit' }],
      })
      return true
    }, image)) as { error: unknown; seen: unknown[] }
    expect(error).toMatchObject({ code: 'unavailable', status: 429, retryAfterMs: 3_600_000 })
    expect(seen).toHaveLength(1)
  })

  test('500, 502 and 503 are tried again, up to the limit', async () => {
    const image = await makeImage([bytesOf(100, 1)])
    const failing = await pullFrom((_, response, count) => {
      if (count >= 3) return false
      response.writeHead([500, 502, 503][count] ?? 500).end('<html>')
      return true
    }, image)
    expect(failing).toHaveProperty('pulled')
    const broken = await pullFrom((_, response) => {
      response.writeHead(500).end()
      return true
    }, image)
    expect(broken).toMatchObject({ error: { code: 'unavailable', status: 500 } })
    expect(broken.seen).toHaveLength(4)
  })

  test('404 and 400 are not tried again', async () => {
    await using registry = await fakeRegistry()
    await using client = testClient()
    await expect(resolveReference(client, referenceAt(registry.host))).rejects.toMatchObject({
      code: 'not-found',
    })
    expect(registry.seen).toHaveLength(2)
  })
})

describe('broken downloads', () => {
  test.each(['Range', 'the whole again'])('go on, when the registry offers %s', async offer => {
    const image = await makeImage([bytesOf(400_000, 1)])
    const bytes = await image.store.read(image.layers[0]!.digest)
    const ranges: (string | undefined)[] = []
    const { into, ...outcome } = await pullFrom((request, response) => {
      if (!isLayer(image, request.url)) return false
      const { range } = request.headers
      ranges.push(range)
      const wanted = Number(/bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0)
      const start = offer === 'Range' ? wanted : 0
      const status = start > 0 ? 206 : 200
      const end = Math.min(bytes.byteLength, wanted + 150_000)
      response.writeHead(status, {
        'content-length': bytes.byteLength - start,
        ...(status === 206 ? { 'content-range': `bytes ${start}-${bytes.byteLength - 1}/*` } : {}),
      })
      response.write(bytes.subarray(start, end), () => {
        if (end < bytes.byteLength) setTimeout(() => response.destroy(), 30)
        else response.end()
      })
      return true
    }, image)
    expect(outcome).toHaveProperty('pulled')
    expect(await into.find(image.layers[0]!.digest)).toBeDefined()
    expect(ranges.length).toBeGreaterThanOrEqual(3)
    expect(ranges.slice(1).every(range => /^bytes=[1-9]\d*-$/.test(range ?? ''))).toBe(true)
  })

  test('of a manifest start again', async () => {
    const image = await makeImage([])
    let torn = 0
    const outcome = await pullFrom((request, response) => {
      if (request.method !== 'GET' || !request.url?.includes('/manifests/') || torn > 1) {
        return false
      }
      torn += 1
      response.writeHead(200, { 'content-length': 500, 'content-type': mediaTypes.manifest })
      response.write('{"schemaVersion":', () => response.destroy())
      return true
    }, image)
    expect(outcome).toHaveProperty('pulled')
    expect(torn).toBe(2)
  })

  test('that never bring a byte are given up', async () => {
    const image = await makeImage([bytesOf(1000, 1)])
    const { error, seen } = (await pullFrom((request, response) => {
      if (!isLayer(image, request.url)) return false
      response.socket?.destroy()
      return true
    }, image)) as { error: unknown; seen: { path: string }[] }
    expect(error).toMatchObject({ code: 'unavailable' })
    expect(seen.filter(({ path }) => isLayer(image, path))).toHaveLength(4)
  })

  test('that stall are taken up again', async () => {
    const image = await makeImage([bytesOf(1000, 1)])
    const bytes = await image.store.read(image.layers[0]!.digest)
    let stalled = false
    const outcome = await pullFrom((request, response) => {
      if (!isLayer(image, request.url) || stalled) return false
      stalled = true
      response.writeHead(200, { 'content-length': 1000 }).write(bytes.subarray(0, 10))
      return true
    }, image)
    expect(outcome).toHaveProperty('pulled')
  })

  test('answered with another range are refused', async () => {
    const image = await makeImage([bytesOf(1000, 1)])
    let count = 0
    const outcome = await pullFrom((request, response) => {
      if (!isLayer(image, request.url)) return false
      count += 1
      if (count > 1) {
        response.writeHead(206, { 'content-range': 'bytes 900-999/1000' }).end('x'.repeat(100))
        return true
      }
      response.writeHead(200, { 'content-length': 1000 })
      response.write('x', () => setTimeout(() => response.destroy(), 30))
      return true
    }, image)
    expect(outcome).toMatchObject({ error: { message: expect.stringContaining('another range') } })
  })
})

describe('wrong bytes', () => {
  const answers: [string, (size: number) => Buffer | 'endless'][] = [
    ['other bytes', size => Buffer.alloc(size)],
    ['too few', size => Buffer.alloc(size - 1)],
    ['too many', size => Buffer.alloc(size + 1)],
    ['without end', () => 'endless'],
  ]
  test.each(answers)('of a blob (%s) leave nothing behind', async (_, answer) => {
    const image = await makeImage([bytesOf(1000, 1)])
    const { into, ...outcome } = await pullFrom((request, response) => {
      if (!isLayer(image, request.url)) return false
      const body = answer(1000)
      if (body !== 'endless') return response.end(body) !== undefined
      const pour = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65536))) {}
      }
      response.on('drain', pour)
      pour()
      return true
    }, image)
    expect(outcome).toMatchObject({ error: { code: 'digest-mismatch' } })
    expect(await into.find(image.layers[0]!.digest)).toBeUndefined()
    expect(await into.find(image.root.digest)).toBeUndefined()
  })

  test('fetchBlob() verifies what it yields', async () => {
    await using registry = await fakeRegistry()
    const digest = digestOf('right')
    registry.blobs.set(digest, Buffer.from('wrong'))
    await using client = testClient()
    const fetching = fetchBlob(client, referenceAt(registry.host), {
      descriptor: { digest, size: 5 },
    })
    await expect(drain(fetching)).rejects.toMatchObject({ code: 'digest-mismatch' })
  })

  test('of a manifest asked for by digest are refused', async () => {
    await using registry = await fakeRegistry()
    const image = await makeImage([])
    const other = await makeImage([bytesOf(1, 1)])
    await seed(registry, image)
    registry.manifests.set(image.root.digest, {
      type: mediaTypes.manifest,
      bytes: await other.store.read(other.root.digest),
    })
    await using client = testClient()
    const reference = referenceAt(registry.host, `team/app@${image.root.digest}`)
    await expect(resolveReference(client, reference)).rejects.toMatchObject({
      code: 'digest-mismatch',
      message: expect.stringContaining(`expected ${image.root.digest}, got ${other.root.digest}`),
    })
  })

  test('of a manifest that is larger than 4 MiB are not kept', async () => {
    const image = await makeImage([])
    const { error } = (await pullFrom((request, response) => {
      if (request.method === 'HEAD') return response.writeHead(200).end() !== undefined
      response.writeHead(200, { 'content-type': mediaTypes.manifest })
      response.end(Buffer.alloc(4 * 1024 * 1024 + 1, ' '))
      return true
    }, image)) as { error: unknown }
    expect(error).toMatchObject({ code: 'too-large' })
  })

  test('a page of HTML in place of a manifest is refused', async () => {
    const image = await makeImage([])
    const outcome = await pullFrom((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>')
      return true
    }, image)
    expect(outcome).toMatchObject({
      error: { code: 'unsupported', message: expect.stringContaining('"text/html"') },
    })
  })
})

describe('images that are none', () => {
  test('a foreign layer is refused, and its URL not fetched (CVE-2020-15157)', async () => {
    await using bait = await serve((_, response) => void response.end())
    const image = await makeImage([])
    const root = await putDocument(
      image.store,
      {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: image.config,
        layers: [
          {
            mediaType: mediaTypes.dockerForeignGzip,
            digest: digestOf('x'),
            size: 1,
            urls: [bait.url],
          },
        ],
      },
      mediaTypes.manifest,
    )
    const outcome = await pullFrom(() => false, { ...image, root })
    expect(outcome).toMatchObject({ error: { code: 'unsupported' } })
    expect(bait.seen).toEqual([])
  })

  test('an artifact is refused by its config', async () => {
    const image = await makeImage([])
    const config = { ...image.config, mediaType: 'application/vnd.cncf.helm.config.v1+json' }
    const root = await putDocument(
      image.store,
      { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [] },
      mediaTypes.manifest,
    )
    const outcome = await pullFrom(() => false, { ...image, root })
    expect(outcome).toMatchObject({
      error: { code: 'unsupported', message: expect.stringContaining('helm') },
    })
  })

  test('indexes nested too deep are refused', async () => {
    const image = await makeImage([])
    let root = image.root
    await using registry = await fakeRegistry()
    await seed(registry, image, 'v0')
    for (let depth = 0; depth < 6; depth++) {
      const platform = { os: 'linux', architecture: 'amd64' }
      root = await putDocument(
        image.store,
        { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [{ ...root, platform }] },
        mediaTypes.index,
      )
      await seedManifest(registry, image.store, { ...root, tag: 'deep' })
    }
    await using client = testClient()
    const options = { platform: amd64, into: memoryStore(), layers: 'all' } as const
    await expect(
      pullImage(client, referenceAt(registry.host, 'team/app:deep'), options),
    ).rejects.toThrow('nested deeper than 4')
  })
})
