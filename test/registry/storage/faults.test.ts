/** A disk that fills up at any write (registry 4.6 #3): what was there stays, a retry succeeds. */
import { describe, expect, it } from 'vitest'
import { hasCode } from '../../../src/oci/errors.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import type { ObjectStore } from '../../../src/registry/storage/object-store.ts'
import { content, imageOf, pushBlob, pushManifest } from '../server/contents.ts'
import { startRegistry } from '../server/registry-server.ts'

interface FullDisk {
  readonly objects: ObjectStore
  /** The write with this number from now on fails, and none after it. */
  failAt(write: number): void
  /** Whether that write came. */
  hasFailed(): boolean
}

function fullDisk(): FullDisk {
  const store = new MemoryObjectStore()
  let left = Number.POSITIVE_INFINITY
  const count = () => {
    left--
    if (left === 0) throw Object.assign(new Error('No space left on device'), { code: 'ENOSPC' })
  }
  const objects: ObjectStore = {
    isShared: false,
    isReliable: false,
    unfinished: prefix => store.unfinished(prefix),
    get: key => store.get(key),
    size: key => store.size(key),
    open: (key, range) => store.open(key, range),
    list: (prefix, page) => store.list(prefix, page),
    discard: key => store.discard(key),
    put: async (key, bytes, options) => {
      count()
      return store.put(key, bytes, options)
    },
    delete: async (key, options) => {
      count()
      return store.delete(key, options)
    },
    append: async (key, from) => {
      const append = await store.append(key, from)
      return {
        write: async chunks => {
          count()
          return append.write(chunks)
        },
        checkpoint: () => append.checkpoint(),
        complete: async () => {
          count()
          return append.complete()
        },
        [Symbol.asyncDispose]: () => append[Symbol.asyncDispose](),
      }
    },
  }
  return {
    objects,
    failAt: write => {
      left = write
    },
    hasFailed: () => left <= 0,
  }
}

describe('a push to a disk that is full at one of its writes', () => {
  it('is refused with 503, keeps the tag as it was, and succeeds when tried again', async () => {
    const disk = fullDisk()
    await using registry = await startRegistry({ objects: disk.objects })
    const target = { repository: 'a/b', reference: 'x' }
    const before = imageOf([], { annotations: { n: 'before' } })
    expect((await pushManifest(registry, target, before)).status).toBe(201)
    let current = before
    let faults = 0
    for (let write = 1; ; write++) {
      const layer = content(`layer ${write}`)
      const subject = { mediaType: before.mediaType, digest: before.digest, size: 1 }
      const image = imageOf([layer], { subject })
      disk.failAt(write)
      const statuses = [(await pushBlob(registry, 'a/b', layer)).status]
      statuses.push((await pushManifest(registry, target, image)).status)
      if (!disk.hasFailed()) break
      disk.failAt(Number.POSITIVE_INFINITY)
      faults++
      expect(statuses).toContain(503)
      const tagged = await registry.send('GET', '/v2/a/b/manifests/x')
      expect(tagged.status).toBe(200)
      expect([current.digest, image.digest]).toContain(tagged.headers['docker-content-digest'])
      expect((await pushBlob(registry, 'a/b', layer)).status).toBe(201)
      expect((await pushManifest(registry, target, image)).status).toBe(201)
      const blob = await registry.send('GET', `/v2/a/b/blobs/${layer.digest}`)
      expect(blob.body.equals(layer.bytes)).toBe(true)
      current = image
    }
    expect(faults).toBeGreaterThanOrEqual(7)
    expect(registry.failures.every(failure => hasCode(failure, 'ENOSPC'))).toBe(true)
  })
})
