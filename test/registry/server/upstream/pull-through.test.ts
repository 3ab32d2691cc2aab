import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createThrough } from '../../../../src/registry/server/upstream/context.ts'
import { MemoryObjectStore } from '../../../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../../../src/registry/storage/registry-storage.ts'
import { content } from '../contents.ts'
import { putImage, putIndex, startThrough, startUpstream } from './through.ts'

const layer = content(randomBytes(300_000))

describe('an image that is pulled through', () => {
  test('comes from the upstream once, and from then on from here', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url, tagTtlMs: 60_000 })
    const image = putImage(upstream, 'v1', [layer])
    for (let time = 0; time < 2; time++) {
      const manifest = await registry.send('GET', '/v2/up/app/manifests/v1')
      expect(manifest.status).toBe(200)
      expect(manifest.body.equals(image.bytes)).toBe(true)
      expect(manifest.headers['content-type']).toBe(image.mediaType)
      expect(manifest.headers['docker-content-digest']).toBe(image.digest)
      const blob = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
      expect(blob.body.equals(layer.bytes)).toBe(true)
    }
    expect(upstream.requests()).toEqual([
      'GET /v2/app/manifests/v1',
      `GET /v2/app/blobs/${layer.digest}`,
    ])
    expect(registry.events.served.map(({ how, kind }) => `${kind} ${how}`)).toEqual([
      'manifest miss',
      'blob miss',
      'manifest hit',
      'blob hit',
    ])
  })

  test('is asked for by HEAD and then by digest, as docker does, with one GET', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    const image = putImage(upstream, 'v1', [layer])
    const head = await registry.send('HEAD', '/v2/up/app/manifests/v1')
    expect(head.headers['docker-content-digest']).toBe(image.digest)
    expect(head.headers['content-length']).toBe(String(image.bytes.length))
    const got = await registry.send('GET', `/v2/up/app/manifests/${image.digest}`)
    expect(got.body.equals(image.bytes)).toBe(true)
    expect(upstream.requests()).toEqual(['GET /v2/app/manifests/v1'])
  })

  test('is an index of which only what is asked for is fetched', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    const images = ['a', 'b'].map(name => putImage(upstream, name, [content(name)]))
    putIndex(upstream, 'multi', images)
    expect((await registry.send('GET', '/v2/up/app/manifests/multi')).status).toBe(200)
    expect((await registry.send('GET', `/v2/up/app/manifests/${images[0]?.digest}`)).status).toBe(
      200,
    )
    expect(upstream.requests()).toEqual([
      'GET /v2/app/manifests/multi',
      `GET /v2/app/manifests/${images[0]?.digest}`,
    ])
  })

  test('is checked with HEAD alone when its tag is old, and follows the tag when it moved', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    putImage(upstream, 'v1', [layer])
    await registry.send('GET', '/v2/up/app/manifests/v1')
    upstream.requests()
    await registry.send('GET', '/v2/up/app/manifests/v1')
    expect(upstream.requests()).toEqual(['HEAD /v2/app/manifests/v1'])
    const moved = putImage(upstream, 'v1', [layer, content('more')])
    const answer = await registry.send('GET', '/v2/up/app/manifests/v1')
    expect(answer.headers['docker-content-digest']).toBe(moved.digest)
    expect(upstream.requests()).toEqual([
      'HEAD /v2/app/manifests/v1',
      `GET /v2/app/manifests/${moved.digest}`,
    ])
  })

  test('is believed for the time of tags, also by another replica over the same storage', async () => {
    await using upstream = await startUpstream()
    await using one = await startThrough({ url: upstream.url, tagTtlMs: 60_000 })
    await using other = await startThrough({
      url: upstream.url,
      tagTtlMs: 60_000,
      objects: one.objects,
    })
    putImage(upstream, 'v1', [layer])
    await one.send('GET', '/v2/up/app/manifests/v1')
    await one.send('GET', `/v2/up/app/blobs/${layer.digest}`)
    upstream.requests()
    expect((await other.send('GET', '/v2/up/app/manifests/v1')).status).toBe(200)
    expect((await other.send('GET', `/v2/up/app/blobs/${layer.digest}`)).status).toBe(200)
    expect(upstream.requests()).toEqual([])
  })

  test('of which the upstream has no such tag is unknown, and not asked for again for a time', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url, missTtlMs: 60_000 })
    for (let time = 0; time < 3; time++) {
      const answer = await registry.send('GET', '/v2/up/app/manifests/none')
      expect(answer.status).toBe(404)
      expect(answer.json().errors[0]?.code).toBe('MANIFEST_UNKNOWN')
      expect((await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)).status).toBe(404)
    }
    expect(upstream.requests()).toHaveLength(2)
  })

  test('that is made up costs no memory but a bound: what was missed longest ago is forgotten', async () => {
    const reports = {
      served: () => {},
      copied: () => {},
      dropped: () => {},
      failed: () => {},
      notKept: () => {},
    }
    const storage = createRegistryStorage(new MemoryObjectStore())
    const { misses, sizes } = createThrough({ storage, reports }, new AbortController().signal)
    for (let i = 0; i < 100_000; i++) misses.set(`up/app ${i}`, true)
    expect(misses.size).toBeLessThanOrEqual(10_000)
    expect(sizes.max).toBeLessThanOrEqual(50_000)
  })

  test('whose tag the upstream deleted is unknown, and its tag goes', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    putImage(upstream, 'v1', [layer])
    await registry.send('GET', '/v2/up/app/manifests/v1')
    upstream.manifests.delete('v1')
    expect((await registry.send('GET', '/v2/up/app/manifests/v1')).status).toBe(404)
    expect(registry.events.dropped).toHaveLength(1)
    upstream.fault = (_, response) => {
      response.destroy()
      return true
    }
    expect((await registry.send('GET', '/v2/up/app/manifests/v1')).status).toBe(503)
  })

  test('stays what was pushed here, where the repository was ours before', async () => {
    await using upstream = await startUpstream()
    await using before = await startThrough({ url: upstream.url, prefix: 'other' })
    const ours = content(
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
      'application/vnd.oci.image.index.v1+json',
    )
    const headers = { 'content-type': ours.mediaType }
    const pushed = await before.send('PUT', '/v2/up/app/manifests/v1', {
      headers,
      body: ours.bytes,
    })
    expect(pushed.status).toBe(201)
    await using registry = await startThrough({ url: upstream.url, objects: before.objects })
    putImage(upstream, 'v1', [layer])
    const answer = await registry.send('GET', '/v2/up/app/manifests/v1')
    expect(answer.headers['docker-content-digest']).toBe(ours.digest)
    expect(upstream.requests()).toEqual([])
  })
})

describe('a blob that is pulled through', () => {
  test('is one request to the upstream for a hundred clients at once, each getting all of it', async () => {
    await using upstream = await startUpstream()
    const large = content(randomBytes(1024 * 1024))
    upstream.put(large)
    await using registry = await startThrough({ url: upstream.url })
    const pulls = Array.from({ length: 100 }, () =>
      registry.send('GET', `/v2/up/app/blobs/${large.digest}`),
    )
    for (const { status, body } of await Promise.all(pulls)) {
      expect(status).toBe(200)
      expect(body.equals(large.bytes)).toBe(true)
    }
    expect(upstream.requests()).toEqual([`GET /v2/app/blobs/${large.digest}`])
  })

  test('is sent while it arrives: a client has its first bytes before the upstream sent the last', async () => {
    await using upstream = await startUpstream()
    const large = content(randomBytes(1024 * 1024))
    upstream.put(large)
    let finish = () => {}
    upstream.fault = (request, response) => {
      if (!request.url?.includes('/blobs/')) return false
      response.writeHead(200, { 'content-length': large.bytes.length })
      response.write(large.bytes.subarray(0, 700_000))
      finish = () => response.end(large.bytes.subarray(700_000))
      return true
    }
    await using registry = await startThrough({ url: upstream.url })
    const response = await fetch(
      `http://127.0.0.1:${registry.port}/v2/up/app/blobs/${large.digest}`,
    )
    const reader = response.body?.getReader()
    let size = 0
    while (size < 700_000) size += (await reader?.read())?.value?.length ?? 0
    expect(size).toBe(700_000)
    finish()
    for (;;) {
      const next = await reader?.read()
      if (next?.done !== false) break
      size += next.value.length
    }
    expect(size).toBe(large.bytes.length)
  })

  test('in parts is one request too, each part its bytes', async () => {
    await using upstream = await startUpstream()
    const large = content(randomBytes(2 * 1024 * 1024))
    upstream.put(large)
    await using registry = await startThrough({ url: upstream.url })
    const parts = [0, 1, 2, 3].map(async i => {
      const [start, end] = [i * 524_288, (i + 1) * 524_288]
      const answer = await registry.send('GET', `/v2/up/app/blobs/${large.digest}`, {
        headers: { range: `bytes=${start}-${end - 1}` },
      })
      expect(answer.status).toBe(206)
      expect(answer.body.equals(large.bytes.subarray(start, end))).toBe(true)
    })
    await Promise.all(parts)
    expect(upstream.requests()).toEqual([`GET /v2/app/blobs/${large.digest}`])
  })

  test('is told of by HEAD without its bytes being fetched', async () => {
    await using upstream = await startUpstream()
    upstream.put(layer)
    await using registry = await startThrough({ url: upstream.url })
    const answer = await registry.send('HEAD', `/v2/up/app/blobs/${layer.digest}`)
    expect(answer.headers['content-length']).toBe(String(layer.bytes.length))
    expect(upstream.requests()).toEqual([`HEAD /v2/app/blobs/${layer.digest}`])
  })

  test('that another repository here has is not fetched again, and not given before the upstream has it', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    const secret = content('secret')
    const target = `/v2/secret/app/blobs/uploads/?digest=${secret.digest}`
    expect((await registry.send('POST', target, { body: secret.bytes })).status).toBe(201)
    expect((await registry.send('GET', `/v2/up/app/blobs/${secret.digest}`)).status).toBe(404)
    upstream.put(secret)
    const answer = await registry.send('GET', `/v2/up/app/blobs/${secret.digest}`)
    expect(answer.body.toString()).toBe('secret')
    expect(upstream.requests()).toEqual([
      `HEAD /v2/app/blobs/${secret.digest}`,
      `HEAD /v2/app/blobs/${secret.digest}`,
    ])
  })

  test('is stored although its client went away', async () => {
    await using upstream = await startUpstream()
    upstream.put(layer)
    await using registry = await startThrough({ url: upstream.url })
    const gone = new AbortController()
    const url = `http://127.0.0.1:${registry.port}/v2/up/app/blobs/${layer.digest}`
    await fetch(url, { signal: gone.signal }).then(response => response.body?.getReader().read())
    gone.abort()
    while (registry.events.copied.length === 0) await sleep(5)
    expect((await fetch(url).then(response => response.arrayBuffer())).byteLength).toBe(300_000)
    expect(upstream.requests()).toHaveLength(1)
  })
})

describe('what cannot be kept', () => {
  test('is given all the same, while the registry is read-only', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url, isReadOnly: () => true })
    const image = putImage(upstream, 'v1', [layer])
    for (let time = 0; time < 2; time++) {
      const manifest = await registry.send('GET', '/v2/up/app/manifests/v1')
      expect(manifest.body.equals(image.bytes)).toBe(true)
      const blob = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
      expect(blob.body.equals(layer.bytes)).toBe(true)
      const range = { headers: { range: 'bytes=100-199' } }
      const part = await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`, range)
      expect(part.body.equals(layer.bytes.subarray(100, 200))).toBe(true)
    }
    const { objects } = createRegistryStorage(registry.objects)
    expect(await objects.list('r/', { max: 10 })).toEqual([])
    expect(await objects.list('d/', { max: 10 })).toEqual([])
  })
})
