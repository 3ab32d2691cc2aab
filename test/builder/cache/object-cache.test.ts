import { beforeEach, describe, expect, test } from 'vitest'
import { encodeCacheConfig } from '../../../src/builder/cache/cache-config.ts'
import type { OutgoingCache } from '../../../src/builder/cache/cache-place.ts'
import { objectCache } from '../../../src/builder/cache/object-cache.ts'
import type { CacheKey } from '../../../src/builder/solve/graph.ts'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { digestOf, parseDiffId } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'

const { signal } = new AbortController()
const key = digestOf('key') as CacheKey
const bytes = Buffer.from('the bytes of a layer')
const layer = {
  diffId: parseDiffId(digestOf('tar')),
  descriptor: { mediaType: mediaTypes.layer, digest: digestOf(bytes), size: bytes.length },
}
const form = { kind: 'image', types: 'oci' } as const

describe('a cache in a bucket', () => {
  let objects: MemoryObjectStore
  let outgoing: OutgoingCache
  let events: string[]
  const open = (names: readonly string[]) =>
    objectCache({
      place: 's3://bucket',
      names,
      open: async () => objects,
      blobsPrefix: 'blobs/',
      manifestsPrefix: 'manifests/',
      parallelism: 2,
    })
  const write = (...names: string[]) =>
    open(names).write(outgoing, { form, onEvent: ({ kind }) => events.push(kind), signal })
  const read = (...names: string[]) => open(names).read({ platforms: [], signal })

  beforeEach(async () => {
    objects = new MemoryObjectStore()
    events = []
    const from = memoryStore()
    await putBlob(from, [bytes])
    const config = encodeCacheConfig({
      results: [{ key, layers: [layer] }],
      memo: new Map(),
      mounts: [],
    })
    outgoing = { config, layers: [layer.descriptor], from, mountFrom: () => new Map() }
  })

  test('is read as it was written, under each of its names', async () => {
    await write('main', 'feature/x')
    const { indexes, source } = await read('feature/x')
    expect(indexes.map(index => index.find(key))).toEqual([{ layers: [layer] }])
    const store = memoryStore()
    await source.fetch([layer.descriptor], store, { onEvent: () => undefined, signal })
    expect(Buffer.from(await store.read(layer.descriptor.digest))).toEqual(bytes)
  })

  test('sends no blob twice', async () => {
    await write('main')
    await write('main')
    expect(events).toEqual(['blob-done', 'blob-exists'])
  })

  test('is not found under another name, and found beside names that are not there', async () => {
    await write('main')
    await expect(read('other')).rejects.toThrow('no other')
    expect((await read('other', 'main')).indexes).toHaveLength(1)
  })

  test('a blob that a rule of the bucket removed is told to be missing', async () => {
    await write('main')
    const { source } = await read('main')
    expect(await source.has(layer.descriptor, signal)).toBe(true)
    await objects.delete(`blobs/${layer.descriptor.digest}`)
    expect(await source.has(layer.descriptor, signal)).toBe(false)
  })

  test('other bytes than the name’s do not enter the store', async () => {
    await write('main')
    await objects.put(`blobs/${layer.descriptor.digest}`, Buffer.from('THE BYTES OF A LAYER'))
    const { source } = await read('main')
    const store = memoryStore()
    const fetching = source.fetch([layer.descriptor], store, { onEvent: () => undefined, signal })
    await expect(fetching).rejects.toThrow(/expected sha256:/)
    expect(await store.find(layer.descriptor.digest)).toBeUndefined()
  })

  test('more records than anybody has are not read into memory', async () => {
    await objects.put('manifests/main', Buffer.alloc(33 * 1024 * 1024))
    await expect(read('main')).rejects.toThrow('34603008 bytes of records')
  })
})
