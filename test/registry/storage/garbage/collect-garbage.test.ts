import { describe, expect, it } from 'vitest'
import { collectGarbage } from '../../../../src/registry/storage/garbage/collect-garbage.ts'
import type {
  CollectOptions,
  GarbageEvent,
} from '../../../../src/registry/storage/garbage/collection.ts'
import { tryLease } from '../../../../src/registry/storage/garbage/lease.ts'
import { parseRetentionRules } from '../../../../src/registry/storage/garbage/retention-rules.ts'
import { parseImmutableTags } from '../../../../src/registry/storage/immutable-tags.ts'
import { MemoryObjectStore } from '../../../../src/registry/storage/memory.ts'
import { listAll } from '../../../../src/registry/storage/object-store.ts'
import {
  createRegistryStorage,
  type StorageOptions,
} from '../../../../src/registry/storage/registry-storage.ts'
import {
  type Content,
  content,
  descriptorOf,
  imageOf,
  indexOf,
  pushBlob,
  pushManifest,
  startUpload,
} from '../../server/contents.ts'
import { startRegistry } from '../../server/registry-server.ts'

const hour = 3600_000

/** A registry with a clock of its own, and the collector beside it. */
async function collected(options: StorageOptions = {}) {
  const objects = new MemoryObjectStore()
  let now = Date.parse('2026-01-01T00:00:00Z')
  const clocked = { ...options, now: () => new Date(now) }
  const registry = await startRegistry({ ...clocked, objects })
  const storage = createRegistryStorage(objects, clocked)
  const push = async (repository: string, reference: string, manifest: Content) => {
    const answer = await pushManifest(registry, { repository, reference }, manifest)
    expect(answer.status).toBe(201)
  }
  return {
    registry,
    storage,
    push,
    pass: (ms: number) => {
      now += ms
    },
    collect: (more: Partial<CollectOptions> = {}) =>
      collectGarbage(storage, { graceMs: hour, uploadExpiryMs: 24 * hour, ...more }),
    keys: async (prefix: string) => {
      const keys: string[] = []
      for await (const key of listAll(objects, prefix)) keys.push(key)
      return keys
    },
    status: async (target: string) => (await registry.send('HEAD', target)).status,
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  }
}

describe('collectGarbage()', () => {
  it('removes all of a deleted image after twice the grace, and nothing before', async () => {
    await using world = await collected()
    const { registry, push, pass, collect, keys, status } = world
    const layer = content('layer')
    await pushBlob(registry, 'a', layer)
    await push('a', 'x', imageOf([layer]))
    pass(2 * hour)
    expect(await collect()).toMatchObject({ removed: {}, condemned: 0 })
    await registry.send('DELETE', `/v2/a/manifests/${imageOf([layer]).digest}`)
    expect(await collect()).toMatchObject({ condemned: 1 })
    pass(hour / 2)
    await collect()
    expect(await keys('d/')).toHaveLength(1)
    pass(hour)
    expect(await collect()).toMatchObject({ removed: { link: 1, blob: 1, bytes: 1 }, freed: 5 })
    expect(await status(`/v2/a/blobs/${layer.digest}`)).toBe(404)
    for (const prefix of ['b/', 'd/', 'x/', 'c/', 'g/', 'u/'])
      expect(await keys(prefix)).toEqual([])
  })

  it('keeps a blob that somebody asked for after it was condemned (registry 4.6 #15)', async () => {
    await using world = await collected()
    const { registry, pass, collect, status } = world
    const layer = content('layer')
    await pushBlob(registry, 'a', layer)
    pass(2 * hour)
    expect(await collect()).toMatchObject({ condemned: 1 })
    pass(2 * hour)
    expect(await status(`/v2/a/blobs/${layer.digest}`)).toBe(200)
    await collect()
    expect(await status(`/v2/a/blobs/${layer.digest}`)).toBe(200)
  })

  it('takes the blob from a repository that does not use it, and keeps it in one that does', async () => {
    await using world = await collected()
    const { registry, push, pass, collect, status } = world
    const layer = content('layer')
    for (const name of ['a', 'b']) await pushBlob(registry, name, layer)
    await push('a', 'x', imageOf([layer]))
    for (let i = 0; i < 3; i++) {
      pass(2 * hour)
      await collect()
    }
    expect(await status(`/v2/a/blobs/${layer.digest}`)).toBe(200)
    const there = await registry.send('GET', `/v2/b/blobs/${layer.digest}`)
    expect(there.status).toBe(404)
  })

  it('never removes the children of an index, nested ones neither (registry 4.6 #6)', async () => {
    await using world = await collected()
    const { registry, push, pass, collect, status } = world
    const layer = content('layer')
    await pushBlob(registry, 'a', layer)
    const child = imageOf([layer])
    const index = indexOf([indexOf([child])])
    for (const manifest of [child, indexOf([child])]) await push('a', manifest.digest, manifest)
    await push('a', 'x', index)
    const loose = imageOf([], { annotations: { loose: 'yes' } })
    await push('a', loose.digest, loose)
    for (let i = 0; i < 3; i++) {
      pass(2 * hour)
      await collect({ deleteUntagged: true })
    }
    for (const { digest } of [child, index])
      expect(await status(`/v2/a/manifests/${digest}`)).toBe(200)
    expect(await status(`/v2/a/blobs/${layer.digest}`)).toBe(200)
    expect(await status(`/v2/a/manifests/${loose.digest}`)).toBe(404)
  })

  it('removes referrers with their subject, and not before', async () => {
    await using world = await collected()
    const { registry, push, pass, collect, keys, status } = world
    const image = imageOf([])
    const signature = imageOf([], { subject: descriptorOf(image) })
    await push('a', 'x', image)
    await push('a', signature.digest, signature)
    const age = async () => {
      pass(2 * hour)
      await collect({ deleteUntagged: true })
    }
    for (let i = 0; i < 3; i++) await age()
    expect(await status(`/v2/a/manifests/${signature.digest}`)).toBe(200)
    await registry.send('DELETE', `/v2/a/manifests/${image.digest}`)
    for (let i = 0; i < 3; i++) await age()
    expect(await status(`/v2/a/manifests/${signature.digest}`)).toBe(404)
    expect(await keys('r/')).toEqual(expect.not.arrayContaining([expect.stringContaining('/_r/')]))
    expect((await registry.send('GET', '/v2/a/tags/list')).status).toBe(404)
  })

  it('removes expired uploads and bytes that nobody names, never those of an open upload', async () => {
    await using world = await collected()
    const { registry, storage, pass, collect, keys } = world
    const open = await startUpload(registry, 'a')
    await registry.send('PATCH', open, { body: 'abc' })
    await storage.objects.put('d/20260101/nobody', Buffer.from('left'))
    expect(await collect()).toMatchObject({ removed: { bytes: 1 } })
    expect(await keys('d/')).toEqual([])
    const status = await registry.send('GET', open)
    expect([status.status, status.headers.range]).toEqual([204, '0-2'])
    pass(25 * hour)
    expect(await collect()).toMatchObject({ removed: { upload: 1 } })
    expect((await registry.send('GET', open)).status).toBe(404)
  })

  it('touches nothing of a repository with a damaged manifest, and names it', async () => {
    await using world = await collected()
    const { registry, storage, push, pass, collect } = world
    const layer = content('layer')
    await pushBlob(registry, 'a', layer)
    const image = imageOf([layer])
    await push('a', 'x', image)
    await storage.objects.put(`r/a/_m/${image.digest}`, Buffer.from('{"mediaType":"a/b"}\nrot'))
    for (let i = 0; i < 3; i++) {
      pass(2 * hour)
      expect(await collect()).toMatchObject({ damaged: ['a'], condemned: 0 })
    }
    await push('a', 'x', image)
    const blob = await registry.send('GET', `/v2/a/blobs/${layer.digest}`)
    expect(blob.body.toString()).toBe('layer')
  })

  it('tells in a dry run what it would do, and does nothing', async () => {
    await using world = await collected()
    const { registry, pass, collect, keys } = world
    await pushBlob(registry, 'a', content('layer'))
    pass(2 * hour)
    const before = [...(await keys('b/')), ...(await keys('r/'))]
    const events: GarbageEvent[] = []
    await collect({ dryRun: true, onEvent: event => events.push(event) })
    expect(events).toEqual([expect.objectContaining({ kind: 'link', action: 'condemn' })])
    expect([...(await keys('b/')), ...(await keys('r/'))]).toEqual(before)
  })

  it('leaves the work to who has the lease, until that runs out', async () => {
    await using world = await collected()
    const { storage, pass, collect } = world
    expect(await tryLease(storage)).toBeDefined()
    expect(await collect()).toBeUndefined()
    pass(61_000)
    expect(await collect()).toBeDefined()
  })

  it('stops when it is told to', async () => {
    await using world = await collected()
    await pushBlob(world.registry, 'a', content('layer'))
    const signal = AbortSignal.abort(new Error('stop'))
    await expect(world.collect({ signal })).rejects.toThrow('stop')
    expect(await world.keys('g/')).toEqual([])
  })
})

describe('retention', () => {
  const rules = (...list: object[]) =>
    parseRetentionRules(Buffer.from(JSON.stringify({ rules: list })))

  it('keeps the last tags, the young ones, those no entry matches, and immutable ones', async () => {
    await using world = await collected({ isImmutable: parseImmutableTags(['ci/app:pr-0']) })
    const { push, pass, collect, registry } = world
    for (let i = 0; i < 6; i++) {
      await push('ci/app', `pr-${i}`, imageOf([], { annotations: { i: `${i}` } }))
      pass(hour)
    }
    await push('ci/app', 'latest', imageOf([]))
    await push('other', 'pr-1', imageOf([]))
    const retention = rules({
      repositories: ['ci/**'],
      tags: [{ match: ['pr-*'], keepLast: 2, keepFor: '3h' }],
    })
    await collect({ retention })
    const tags = async (name: string) =>
      JSON.parse((await registry.send('GET', `/v2/${name}/tags/list`)).body.toString()).tags
    expect(await tags('ci/app')).toEqual(['latest', 'pr-0', 'pr-4', 'pr-5'])
    expect(await tags('other')).toEqual(['pr-1'])
  })

  it('removes untagged manifests after their time, not those that the history leads to', async () => {
    await using world = await collected()
    const { push, pass, collect, status } = world
    const [first, second] = [imageOf([], { annotations: { n: '1' } }), imageOf([])]
    const retention = rules({ repositories: ['**'], untagged: '2h' })
    await push('a', 'x', first)
    await push('a', 'x', second)
    for (let i = 0; i < 3; i++) {
      pass(2 * hour)
      await collect({ retention, historyMs: 24 * hour })
    }
    expect(await status(`/v2/a/manifests/${first.digest}`)).toBe(200)
    for (let i = 0; i < 3; i++) {
      pass(24 * hour)
      await collect({ retention, historyMs: 24 * hour })
    }
    expect(await status(`/v2/a/manifests/${first.digest}`)).toBe(404)
    expect(await status('/v2/a/manifests/x')).toBe(200)
  })

  it.each([
    ['{', /not valid UTF-8 JSON/],
    ['{}', /rules: expected an array/],
    ['{"rules":[{"repositories":[]}]}', /rules\[0\]\.repositories: expected a list of patterns/],
    ['{"rules":[{"repositories":["a"],"untaged":"1d"}]}', /"rules\[0\]\.untaged" is not known/],
    ['{"rules":[{"repositories":["a"],"untagged":"soon"}]}', /untagged: expected an age/],
    ['{"rules":[{"repositories":["a"],"tags":[{"match":["x"],"keepLast":-1}]}]}', /keepLast/],
  ])('rules refuse %j', (text, message) => {
    expect(() => parseRetentionRules(Buffer.from(text))).toThrow(message)
  })
})
