/** Bytes that changed under the registry: found, not served, repaired by the next push. */
import { describe, expect, it } from 'vitest'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../../src/registry/storage/registry-storage.ts'
import { scrub } from '../../../src/registry/storage/rot.ts'
import { content, imageOf, pushBlob, pushManifest } from './contents.ts'
import { startRegistry } from './registry-server.ts'

/** As a folder, whose disk may damage anything. */
class DiskStore extends MemoryObjectStore {
  override readonly isReliable = false
}

/** As a bucket. */
class FarStore extends MemoryObjectStore {
  readonly isFar = true
}

const layer = content(Buffer.alloc(700_000, 'layer'))

async function rotting(
  damage: (bytes: Buffer) => Buffer,
  { objects = new MemoryObjectStore(), verifyReads = 1 } = {},
) {
  const registry = await startRegistry({ objects, verifyReads })
  for (const name of ['a', 'b']) await pushBlob(registry, name, layer)
  const [key = ''] = await objects.list('d/', { max: 2 })
  const stored = await objects.get(key)
  await objects.put(key, damage(Buffer.from(stored?.bytes ?? [])))
  return {
    objects,
    registry,
    scrub: async () => {
      const rotten: string[] = []
      const onRot = ({ digest }: { digest: string }) => rotten.push(digest)
      await scrub(createRegistryStorage(objects), { sample: 1, onRot })
      return rotten
    },
    pull: (name: string) => registry.send('GET', `/v2/${name}/blobs/${layer.digest}`),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  }
}

const flip = (bytes: Buffer) => {
  bytes[150_000] = 0
  return bytes
}

describe('a blob whose bytes rotted', () => {
  it('is cut before its last chunk, and answered 404 from then on', async () => {
    await using world = await rotting(flip)
    await expect(world.pull('a')).rejects.toThrow()
    expect((await world.pull('b')).status).toBe(404)
    expect(await world.objects.list('q/', { max: 9 })).toHaveLength(1)
  })

  it.each([
    ['flipped', flip],
    ['cut', (bytes: Buffer) => bytes.subarray(0, 9)],
    ['emptied', () => Buffer.alloc(0)],
  ])('(%s) is found by scrub, and repaired in every repository by one push', async (_, damage) => {
    await using world = await rotting(damage)
    expect(await world.scrub()).toEqual([layer.digest])
    expect((await world.pull('a')).status).toBe(404)
    expect((await pushBlob(world.registry, 'a', layer)).status).toBe(201)
    for (const name of ['a', 'b']) {
      expect((await world.pull(name)).body.equals(layer.bytes)).toBe(true)
    }
    expect(await world.scrub()).toEqual([])
  })

  it('is repaired by a push that does not know of it', async () => {
    await using world = await rotting(flip)
    await pushBlob(world.registry, 'a', layer)
    for (const name of ['a', 'b']) expect((await world.pull(name)).status).toBe(200)
  })

  it.each(['r/a/_b/', 'b/'])(
    'with garbage for the object under %s is repaired too',
    async prefix => {
      await using world = await rotting(bytes => bytes, { objects: new DiskStore() })
      const [key = ''] = await world.objects.list(prefix, { max: 1 })
      await world.objects.put(key, Buffer.from('\u0000garbage'))
      const head = () => world.registry.send('HEAD', `/v2/a/blobs/${layer.digest}`)
      expect((await head()).status).toBe(404)
      await pushBlob(world.registry, 'a', layer)
      expect((await head()).status).toBe(200)
    },
  )
})

describe('a small blob in a bucket whose bytes rotted', () => {
  const far = () => ({ objects: new FarStore(), verifyReads: 0 })

  it('is not sent, but set aside, and repaired by a push', async () => {
    await using world = await rotting(flip, far())
    // Found by what is asked ahead; who asks after it finds none.
    expect((await world.pull('a')).status).toBe(404)
    expect(await world.objects.list('q/', { max: 9 })).toHaveLength(1)
    expect((await pushBlob(world.registry, 'a', layer)).status).toBe(201)
    for (const name of ['a', 'b']) {
      expect((await world.pull(name)).body.equals(layer.bytes)).toBe(true)
    }
  })

  it('is sent as it was by who read it before, and pushed again by who asks for it', async () => {
    await using world = await rotting(bytes => bytes, far())
    expect((await world.pull('a')).status).toBe(200)
    const [key = ''] = await world.objects.list('d/', { max: 2 })
    await world.objects.put(key, flip(Buffer.from(layer.bytes)))
    expect(await world.scrub()).toEqual([layer.digest])
    for (const name of ['a', 'b']) {
      expect((await world.pull(name)).body.equals(layer.bytes)).toBe(true)
      const path = `/v2/${name}/blobs/${layer.digest}`
      expect((await world.registry.send('HEAD', path)).status).toBe(404)
    }
    expect((await pushBlob(world.registry, 'a', layer)).status).toBe(201)
    expect(await world.scrub()).toEqual([])
  })
})

describe('a manifest that is damaged', () => {
  it('is answered 404, found by scrub, and repaired by a push', async () => {
    await using world = await rotting(bytes => bytes)
    const target = { repository: 'a', reference: 'x' }
    await pushManifest(world.registry, target, imageOf([]))
    const [key = ''] = await world.objects.list('r/a/_m/', { max: 1 })
    await world.objects.put(key, Buffer.from('{"mediaType":"a/b"}\n{}'))
    expect((await world.registry.send('GET', '/v2/a/manifests/x')).status).toBe(404)
    expect(await world.scrub()).toEqual([imageOf([]).digest])
    await pushManifest(world.registry, target, imageOf([]))
    expect((await world.registry.send('GET', '/v2/a/manifests/x')).status).toBe(200)
  })
})
