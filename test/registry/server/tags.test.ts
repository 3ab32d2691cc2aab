/** Immutable tags, and the history of tags with its undo. */
import { describe, expect, it } from 'vitest'
import { parseImmutableTags } from '../../../src/registry/storage/immutable-tags.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import type { ObjectStore } from '../../../src/registry/storage/object-store.ts'
import { type Content, imageOf, pushManifest } from './contents.ts'
import { startRegistry, type TestRegistry } from './registry-server.ts'

const images = Array.from({ length: 8 }, (_, i) => imageOf([], { annotations: { i: `${i}` } }))
const [one, two] = images as [Content, Content]

const put = (registry: TestRegistry, reference: string, image: Content) =>
  pushManifest(registry, { repository: 'app/web', reference }, image)

const digestAt = async (registry: TestRegistry, tag: string) =>
  (await registry.send('HEAD', `/v2/app/web/manifests/${tag}`)).headers['docker-content-digest']

describe('an immutable tag', () => {
  const start = () => startRegistry({ isImmutable: parseImmutableTags(['app/**:v*']) })

  it('is given to exactly one of those who push it at once', async () => {
    await using registry = await start()
    const answers = await Promise.all(images.map(image => put(registry, 'v1', image)))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(409)])
    const winner = images[answers.findIndex(({ status }) => status === 201)]
    expect(await digestAt(registry, 'v1')).toBe(winner?.digest)
  })

  it('may be pushed again as it is, and is moved by no way in', async () => {
    await using registry = await start()
    expect((await put(registry, 'v1', one)).status).toBe(201)
    expect((await put(registry, 'v1', one)).status).toBe(201)
    const refused = await put(registry, 'v1', two)
    expect(refused.json().errors).toMatchObject([{ code: 'DENIED', detail: { tag: 'v1' } }])
    expect((await put(registry, `${two.digest}?tag=free&tag=v1`, two)).status).toBe(409)
    const remove = (reference: string) =>
      registry.send('DELETE', `/v2/app/web/manifests/${reference}`)
    expect((await remove('v1')).status).toBe(409)
    expect((await remove(one.digest)).status).toBe(409)
    const match = { headers: { 'content-type': two.mediaType, 'if-match': '*' }, body: two.bytes }
    expect((await registry.send('PUT', '/v2/app/web/manifests/v1', match)).status).toBe(409)
    expect((await registry.send('POST', '/v2/app/web/_tsregistry/tags/v1/undo')).status).toBe(409)
    expect(await digestAt(registry, 'v1')).toBe(one.digest)
  })

  it('leaves other tags and repositories alone', async () => {
    await using registry = await start()
    for (const image of [one, two]) {
      expect((await put(registry, 'latest', image)).status).toBe(201)
      const other = { repository: 'web', reference: 'v1' }
      expect((await pushManifest(registry, other, image)).status).toBe(201)
    }
  })

  it.each(['v*', 'a:b:c', ':v', 'a:', 'a b:c'])('is refused as the pattern %j', pattern => {
    expect(() => parseImmutableTags([pattern])).toThrow(/expected REPOSITORIES:TAGS/)
  })
})

describe("a tag's history", () => {
  const history = async (registry: TestRegistry) => {
    const answer = await registry.send('GET', '/v2/app/web/_tsregistry/tags/x/history')
    return JSON.parse(answer.body.toString()).changes
  }
  const undo = (registry: TestRegistry) =>
    registry.send('POST', '/v2/app/web/_tsregistry/tags/x/undo')

  it('has each change, newest first, and no push that changed nothing', async () => {
    await using registry = await startRegistry()
    expect(await history(registry)).toEqual([])
    for (const image of [one, one, two]) {
      await put(registry, 'x', image)
      await new Promise(resolve => setTimeout(resolve, 2))
    }
    await registry.send('DELETE', '/v2/app/web/manifests/x')
    expect(await history(registry)).toMatchObject([
      { from: two.digest },
      { from: one.digest, to: two.digest },
      { to: one.digest },
    ])
  })

  it('begins in the tag itself, and is written down when that changes or goes', async () => {
    const objects = new MemoryObjectStore()
    await using registry = await startRegistry({ objects })
    const recorded = () => objects.list('r/app/web/_th/', { max: 10 })
    for (const image of [one, one]) await put(registry, 'x', image)
    expect(await recorded()).toEqual([])
    const [made] = await history(registry)
    expect(made).toEqual({ at: expect.any(String), to: one.digest })
    await new Promise(resolve => setTimeout(resolve, 2))
    expect((await undo(registry)).status).toBe(200)
    expect(await recorded()).toHaveLength(2)
    expect(await history(registry)).toEqual([{ at: expect.any(String), from: one.digest }, made])
  })

  it('is undone, redone, and brings back a deleted tag', async () => {
    await using registry = await startRegistry()
    const pause = () => new Promise(resolve => setTimeout(resolve, 2))
    await put(registry, 'x', one)
    await pause()
    await put(registry, 'x', two)
    for (const expected of [one, two]) {
      await pause()
      const answer = await undo(registry)
      expect(JSON.parse(answer.body.toString())).toMatchObject({ digest: expected.digest })
      expect(await digestAt(registry, 'x')).toBe(expected.digest)
    }
    await pause()
    await registry.send('DELETE', '/v2/app/web/manifests/x')
    await pause()
    expect((await undo(registry)).status).toBe(200)
    expect(await digestAt(registry, 'x')).toBe(two.digest)
  })

  it('is not undone when nothing is known, or the manifest was deleted', async () => {
    await using registry = await startRegistry()
    expect((await undo(registry)).status).toBe(404)
    await put(registry, 'x', one)
    await new Promise(resolve => setTimeout(resolve, 2))
    await put(registry, 'x', two)
    await registry.send('DELETE', `/v2/app/web/manifests/${one.digest}`)
    const answer = await undo(registry)
    expect([answer.status, answer.json().errors[0]?.code]).toEqual([404, 'MANIFEST_UNKNOWN'])
    expect(await digestAt(registry, 'x')).toBe(two.digest)
  })
})

describe('deleting a digest', () => {
  it('takes as many steps as it has tags, among ten thousand (registry 5 #5)', async () => {
    const store = new MemoryObjectStore()
    let operations = 0
    const counted = new Proxy<ObjectStore>(store, {
      get: (target, name) => {
        const member = Reflect.get(target, name)
        if (typeof member !== 'function') return member
        return (...args: unknown[]) => {
          operations++
          return member.apply(target, args)
        }
      },
    })
    await using registry = await startRegistry({ objects: counted })
    for (const tag of ['a', 'b', 'c']) await put(registry, tag, one)
    const record = JSON.stringify({ digest: two.digest })
    for (let i = 0; i < 10_000; i++) {
      await store.put(`r/app/web/_t/t${i}`, Buffer.from(record))
      await store.put(`r/app/web/_mt/${two.digest}/t${i}`, new Uint8Array())
    }
    operations = 0
    const answer = await registry.send('DELETE', `/v2/app/web/manifests/${one.digest}`)
    expect(answer.status).toBe(202)
    expect(operations).toBeLessThan(30)
    expect(await digestAt(registry, 'a')).toBeUndefined()
  })
})
