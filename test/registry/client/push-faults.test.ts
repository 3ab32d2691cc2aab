import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { pushImage } from '../../../src/registry/client/push.ts'
import { firstOf, registryBlobs } from '../../../src/registry/client/registry-blobs.ts'
import type { TransferEvent } from '../../../src/registry/client/transfer-event.ts'
import { type FakeOptions, fakeRegistry } from './fake-registry.ts'
import {
  bytesOf,
  type Image,
  makeImage,
  makeIndex,
  referenceAt,
  seed,
  testClient,
} from './images.ts'
import { bodyOf, sendJson, serve } from './local-server.ts'

type Before = NonNullable<FakeOptions['before']>

async function pushTo(before: Before, image: Image) {
  await using registry = await fakeRegistry({ before })
  await using client = testClient()
  const target = referenceAt(registry.host)
  const events: TransferEvent[] = []
  const pushing = pushImage(client, target, {
    root: image.root,
    from: image.store,
    onEvent: event => events.push(event),
  })
  const error = await pushing.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { error, registry, events, lines: registry.lines() }
}

describe('uploads', () => {
  test('keep the query of the Location, and add the digest', async () => {
    const { error, lines } = await pushTo(() => false, await makeImage([bytesOf(10, 1)]))
    expect(error).toBeUndefined()
    expect(lines.find(line => line.startsWith('PUT /v2/team/app/blobs'))).toMatch(
      /^PUT \/v2\/team\/app\/blobs\/uploads\/1\?state=a%2Fb&digest=sha256%3A[0-9a-f]{64}$/,
    )
  })

  test.each([
    ['a failing registry', 500],
    ['a forgotten session', 404],
  ])('start again from the beginning after %s', async (_, status) => {
    const image = await makeImage([bytesOf(200_000, 1)])
    let failures = 0
    const { error, registry, lines } = await pushTo(async (request, response) => {
      if (request.method !== 'PUT' || !request.url?.includes('/uploads/') || failures > 0) {
        return false
      }
      failures += 1
      await bodyOf(request)
      response.writeHead(status).end()
      return true
    }, image)
    expect(error).toBeUndefined()
    expect(registry.blobs.has(image.layers[0]!.digest)).toBe(true)
    expect(lines.filter(line => line.startsWith('POST'))).toHaveLength(3)
  })

  test('start again after a reset in the middle', async () => {
    const image = await makeImage([bytesOf(2_000_000, 1)])
    let resets = 0
    const { error, registry } = await pushTo((request, response) => {
      if (request.method !== 'PUT' || resets > 0) return false
      resets += 1
      request.once('data', () => response.socket?.destroy())
      return true
    }, image)
    expect(error).toBeUndefined()
    expect(registry.blobs.has(image.layers[0]!.digest)).toBe(true)
  })

  const broken = bytesOf(2_000_000, 1)

  /** The first upload of the image's layer breaks off; then the registry says it has `range`. */
  function breakingOnce(
    image: Image,
    range: string | undefined,
    receive: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  ): Before {
    const digest = encodeURIComponent(image.layers[0]!.digest)
    let uploads = 0
    const upload = async (request: IncomingMessage, response: ServerResponse) => {
      if (uploads++ > 0) return receive(request, response)
      request.once('data', () => response.socket?.destroy())
    }
    return async (request, response) => {
      const { method, url = '' } = request
      if (!url.includes('/uploads/')) return false
      if (method === 'GET') response.writeHead(204, told(url, range)).end()
      else if (method === 'PUT' && url.includes(digest)) await upload(request, response)
      else return false
      return true
    }
  }

  const told = (url: string, range: string | undefined) => ({
    location: `${url.split('?')[0]}?state=new`,
    ...(range === undefined ? {} : { range }),
  })

  test.each([
    ['goes on where the registry stopped', '0-999999', 1_000_000],
    ['sends nothing more when all arrived', '0-1999999', 0],
    ['begins again when it has nothing', '0-0', 2_000_000],
    ['begins again when what it says cannot be', '0-2000000', 2_000_000],
    ['begins again when it says nothing', undefined, 2_000_000],
  ])('%s', async (_, range, sent) => {
    const image = await makeImage([broken])
    const received: { readonly range: string | undefined; readonly size: number }[] = []
    const { error, lines } = await pushTo(
      breakingOnce(image, range, async (request, response) => {
        const { length: size } = await bodyOf(request)
        received.push({ range: request.headers['content-range'], size })
        response.writeHead(201).end()
      }),
      image,
    )
    expect(error).toBeUndefined()
    const isRest = sent > 0 && sent < broken.length
    expect(received).toEqual([{ range: isRest ? '1000000-1999999' : undefined, size: sent }])
    expect(lines.filter(line => line.startsWith('POST'))).toHaveLength(
      sent === broken.length ? 3 : 2,
    )
  })

  test('begins again when the rest is refused', async () => {
    const image = await makeImage([broken])
    const sizes: number[] = []
    const { error } = await pushTo(
      breakingOnce(image, '0-999999', async (request, response) => {
        sizes.push((await bodyOf(request)).length)
        response.writeHead(sizes.length === 1 ? 400 : 201).end()
      }),
      image,
    )
    expect(error).toBeUndefined()
    expect(sizes).toEqual([1_000_000, 2_000_000])
  })

  test('give up after the last attempt, and no manifest is put', async () => {
    const image = await makeImage([bytesOf(10, 1)])
    const { error, lines } = await pushTo(async (request, response) => {
      if (request.method !== 'PUT') return false
      await bodyOf(request)
      response.writeHead(503).end()
      return true
    }, image)
    expect(error).toMatchObject({ code: 'unavailable', status: 503 })
    expect(lines.some(line => line.includes('/manifests/'))).toBe(false)
  })

  test('a refused digest is the end', async () => {
    const image = await makeImage([bytesOf(10, 1)])
    const { error, lines } = await pushTo(async (request, response) => {
      if (request.method !== 'PUT') return false
      await bodyOf(request)
      sendJson(response, 400, { errors: [{ code: 'DIGEST_INVALID', message: 'no' }] })
      return true
    }, image)
    expect(error).toMatchObject({ code: 'invalid', errors: [{ code: 'DIGEST_INVALID' }] })
    expect(lines.filter(line => line.startsWith('PUT'))).toHaveLength(1)
  })

  test('a Location at another host gets the bytes, not the credentials', async () => {
    await using storage = await fakeRegistry()
    const image = await makeImage([bytesOf(10, 1)])
    await using registry = await fakeRegistry({
      before: (request, response) => {
        if (request.headers.authorization === undefined) {
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
          return true
        }
        if (request.method !== 'POST') return false
        response.writeHead(202, { location: `${storage.url}/v2/x/blobs/uploads/9` }).end()
        return true
      },
    })
    const password = { kind: 'password', username: 'u', password: 'p' } as const
    await using client = testClient({ credentials: async () => password })
    await pushImage(client, referenceAt(registry.host), { root: image.root, from: image.store })
    expect(storage.blobs.size).toBe(2)
    expect(storage.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  })

  test('what has its name already is not put again; another image under the name is', async () => {
    await using registry = await fakeRegistry()
    await using client = testClient()
    const target = referenceAt(registry.host)
    const [first, second] = [await makeImage([bytesOf(100, 1)]), await makeImage([bytesOf(100, 2)])]
    const told: TransferEvent[] = []
    const push = async ({ root, store }: Image) => {
      const before = registry.lines().length
      await pushImage(client, target, { root, from: store, onEvent: event => told.push(event) })
      return registry.lines().slice(before)
    }
    const puts = (lines: readonly string[]) => lines.filter(line => line.startsWith('PUT')).length
    expect(puts(await push(first))).toBe(3)
    expect(puts(await push(first))).toBe(0)
    const named = { kind: 'manifest', direction: 'push', tag: 'latest' } as const
    expect(told.at(-1)).toEqual({ ...named, digest: first.root.digest })
    expect(puts(await push(second))).toBe(3)
    expect(puts(await push(first))).toBe(1)
    expect(told.at(-1)).toEqual({ ...named, digest: first.root.digest })
  })

  test('blobs come before configs, those before manifests, the tag last', async () => {
    const { store, root, one, two } = await makeIndex()
    const image = { ...one, store, root }
    const { error, registry, events } = await pushTo(() => false, image)
    expect(error).toBeUndefined()
    const kinds = registry.lines().filter(line => line.startsWith('PUT'))
    const names = kinds.map(line => {
      const digest = /digest=(sha256%3A[0-9a-f]+)/.exec(line)?.[1]
      return digest === undefined ? line.split('/').at(-1) : decodeURIComponent(digest)
    })
    const layers = new Set([...one.layers, ...two.layers].map(({ digest }) => digest as string))
    expect(new Set(names.slice(0, 3))).toEqual(layers)
    expect(new Set(names.slice(3, 5))).toEqual(new Set([one.config.digest, two.config.digest]))
    expect(new Set(names.slice(5, 7))).toEqual(new Set([one.root.digest, two.root.digest]))
    expect(names.slice(7)).toEqual(['latest'])
    expect(events.at(-1)).toEqual({
      kind: 'manifest',
      digest: root.digest,
      direction: 'push',
      tag: 'latest',
    })
  })

  test('a blob collected before its manifest arrives is sent again', async () => {
    const image = await makeImage([bytesOf(10, 1)])
    let losses = 0
    await using registry = await fakeRegistry({
      before: async (request, response) => {
        if (!request.url?.includes('/manifests/') || losses > 0) return false
        losses += 1
        await bodyOf(request)
        registry.blobs.clear()
        sendJson(response, 404, { errors: [{ code: 'MANIFEST_BLOB_UNKNOWN', message: '' }] })
        return true
      },
    })
    await using client = testClient()
    const target = referenceAt(registry.host)
    await pushImage(client, target, { root: image.root, from: image.store })
    expect(registry.blobs.size).toBe(2)
    expect(registry.manifests.has('latest')).toBe(true)
  })

  test('a layer goes from registry to registry without being stored', async () => {
    await using source = await fakeRegistry()
    await using registry = await fakeRegistry()
    const image = await makeImage([bytesOf(100_000, 1)])
    const [layer] = image.layers
    await seed(source, image)
    await image.store.remove(layer!.digest)
    await using client = testClient()
    const remote = registryBlobs(
      client,
      new Map([[layer!.digest, { at: referenceAt(source.host), descriptor: layer! }]]),
    )
    const from = firstOf(image.store, remote)
    await pushImage(client, referenceAt(registry.host), { root: image.root, from })
    expect(registry.blobs.get(layer!.digest)).toHaveLength(100_000)
    const middle = await Readable.from(
      remote.open(layer!.digest, { start: 7, end: 70_000 }),
    ).toArray()
    expect(Buffer.concat(middle)).toEqual(Buffer.from(bytesOf(100_000, 1).subarray(7, 70_000)))
    await expect(from.read(image.root.digest, 10)).rejects.toMatchObject({ code: 'too-large' })
    await expect(remote.read(image.root.digest)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('a blob that is nowhere is named', async () => {
    const image = await makeImage([bytesOf(10, 1)])
    await image.store.remove(image.layers[0]!.digest)
    const { error } = await pushTo(() => false, image)
    expect(error).toMatchObject({
      code: 'not-found',
      message: expect.stringContaining(image.layers[0]!.digest),
    })
  })

  test('an abort stops a push with its reason', async () => {
    const image = await makeImage([bytesOf(10, 1)])
    await using silent = await serve(() => {})
    await using client = testClient()
    const signal = AbortSignal.timeout(50)
    const target = referenceAt(silent.host)
    await expect(
      pushImage(client, target, { root: image.root, from: image.store, signal }),
    ).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})
