import { describe, expect, it } from 'vitest'
import { parseRepositoryName } from '../../../../src/oci/reference.ts'
import {
  type CopyEvent,
  copyRegistry,
} from '../../../../src/registry/storage/copy/copy-registry.ts'
import { registrySource } from '../../../../src/registry/storage/copy/copy-source.ts'
import { MemoryObjectStore } from '../../../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../../../src/registry/storage/registry-storage.ts'
import { findTag } from '../../../../src/registry/storage/tags.ts'
import { content, imageOf, indexOf, pushBlob, pushManifest } from '../../server/contents.ts'
import { startRegistry } from '../../server/registry-server.ts'

const layer = content('layer')
const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))
const image = imageOf([layer])
const index = indexOf([image])
const signature = imageOf([], {
  subject: { mediaType: image.mediaType, digest: image.digest, size: image.bytes.length },
})

/** An image, an index that names it, what refers to it, and a tag that was moved. */
async function filledRegistry() {
  const registry = await startRegistry({ now: () => new Date('2026-01-02T03:04:05Z') })
  for (const blob of [layer, config]) await pushBlob(registry, 'a/b', blob)
  const push = (reference: string, manifest: typeof image) =>
    pushManifest(registry, { repository: 'a/b', reference }, manifest)
  await push(image.digest, image)
  await push('x', image)
  await push('x', index)
  await push(signature.digest, signature)
  return registry
}

async function copy(from: MemoryObjectStore, to: MemoryObjectStore): Promise<CopyEvent[]> {
  const events: CopyEvent[] = []
  const { signal } = new AbortController()
  const onEvent = (event: CopyEvent) => void events.push(event)
  const source = registrySource(createRegistryStorage(from))
  await copyRegistry(source, createRegistryStorage(to), { signal, onEvent })
  return events
}

describe('copyRegistry()', () => {
  it('brings manifests, blobs, referrers, tags with their times, and what they were before', async () => {
    await using source = await filledRegistry()
    await using target = await startRegistry({ missingReferences: 'refuse' })
    const events = await copy(
      source.objects as MemoryObjectStore,
      target.objects as MemoryObjectStore,
    )
    const kinds = events.map(({ kind }) => kind).sort()
    expect(kinds).toEqual(['blob', 'blob', 'manifest', 'manifest', 'manifest', 'tag'])
    for (const path of [
      'manifests/x',
      `manifests/${image.digest}`,
      `blobs/${layer.digest}`,
      `referrers/${image.digest}`,
      'tags/list',
      '_tsregistry/tags/x/history',
    ]) {
      const [there, here] = [
        await source.send('GET', `/v2/a/b/${path}`),
        await target.send('GET', `/v2/a/b/${path}`),
      ]
      expect([path, here.status, here.body.toString()]).toEqual([path, 200, there.body.toString()])
    }
    const storage = createRegistryStorage(target.objects)
    const tag = await findTag(storage, parseRepositoryName('a/b'), 'x' as never)
    expect(tag?.pushedAt).toBe(Date.parse('2026-01-02T03:04:05Z'))
  })

  it('goes on where it stopped, and leaves tags alone that the target has', async () => {
    await using source = await filledRegistry()
    await using target = await startRegistry()
    for (const blob of [layer, config]) await pushBlob(target, 'a/b', blob)
    await pushManifest(target, { repository: 'a/b', reference: 'x' }, image)
    const [from, to] = [source.objects as MemoryObjectStore, target.objects as MemoryObjectStore]
    expect((await copy(from, to)).map(({ kind }) => kind)).toEqual(['manifest', 'manifest'])
    expect(await copy(from, to)).toEqual([])
    const tagged = await target.send('GET', '/v2/a/b/manifests/x')
    expect(tagged.headers['docker-content-digest']).toBe(image.digest)
  })

  it('names blobs that are damaged at the source, and copies none of their bytes', async () => {
    await using source = await filledRegistry()
    const from = source.objects as MemoryObjectStore
    for (const key of await from.list('d/', { max: 10 })) {
      const bytes = Buffer.from((await from.get(key))?.bytes ?? [])
      if (bytes.equals(layer.bytes))
        await from.put(key, Buffer.from('rotten'.slice(0, layer.bytes.length)))
    }
    const to = new MemoryObjectStore()
    const damaged = (await copy(from, to)).filter(({ kind }) => kind === 'damaged')
    expect(damaged).toMatchObject([
      { what: `blob ${layer.digest}`, reason: 'its bytes are others than its digest says' },
      { what: `manifest ${image.digest}`, reason: expect.stringContaining(layer.digest) },
    ])
  })
})
