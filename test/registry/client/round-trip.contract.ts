/** What push and pull owe any registry that follows the specification. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { parsePlatform } from '../../../src/oci/platform.ts'
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts'
import { pullImage } from '../../../src/registry/client/pull.ts'
import { pushImage } from '../../../src/registry/client/push.ts'
import { resolveReference } from '../../../src/registry/client/resolve.ts'
import type { TransferEvent } from '../../../src/registry/client/transfer-event.ts'
import { amd64, bytesOf, makeImage, makeIndex, referenceAt, testClient } from './images.ts'

export interface RunningRegistry extends AsyncDisposable {
  readonly host: string
}

export function roundTripContract(start: () => Promise<RunningRegistry>): void {
  describe('push and pull', () => {
    let registry: RunningRegistry
    beforeAll(async () => {
      registry = await start()
    })
    afterAll(() => registry[Symbol.asyncDispose]())

    test('an image comes back byte for byte', async () => {
      await using client = testClient()
      const image = await makeImage([bytesOf(3_000_000, 7), bytesOf(10, 8), new Uint8Array(0)])
      const target = referenceAt(registry.host)
      await pushImage(client, target, { root: image.root, from: image.store })
      const into = memoryStore()
      const pulled = await pullImage(client, target, { platform: amd64, into, layers: 'all' })
      expect(pulled.descriptor).toEqual(image.root)
      expect(pulled.config.value.config.Cmd).toEqual(['/bin/sh'])
      for (const { digest, size } of [image.root, image.config, ...image.layers]) {
        expect(await into.find(digest)).toEqual({ digest, size })
      }
    })

    test('a second push sends no blob, and a second pull fetches none', async () => {
      await using client = testClient()
      const image = await makeImage([bytesOf(5000, 21)])
      const target = referenceAt(registry.host, 'again:v1')
      await pushImage(client, target, { root: image.root, from: image.store })
      const events: TransferEvent[] = []
      const onEvent = (event: TransferEvent) => events.push(event)
      await pushImage(client, target, { root: image.root, from: image.store, onEvent })
      expect(events.map(({ kind }) => kind)).toEqual(['blob-exists', 'blob-exists', 'manifest'])
      events.length = 0
      const into = image.store
      await pullImage(client, target, { platform: amd64, into, layers: 'all', onEvent })
      expect(events.map(({ kind }) => kind)).toEqual([
        'resolving',
        'blob-exists',
        'blob-exists',
        'manifest',
      ])
    })

    test('an index is pushed whole and pulled for one platform', async () => {
      await using client = testClient()
      const { store, root, one, two } = await makeIndex()
      const target = referenceAt(registry.host, 'multi:v1')
      await pushImage(client, target, { root, from: store })
      const into = memoryStore()
      const platform = parsePlatform('linux/arm64')
      const pulled = await pullImage(client, target, { platform, into, layers: 'all' })
      expect(pulled.descriptor.digest).toBe(two.root.digest)
      expect(pulled.indexes.map(({ descriptor }) => descriptor.digest)).toEqual([root.digest])
      expect(await into.find(root.digest)).toBeDefined()
      expect(await into.find(one.root.digest)).toBeUndefined()
    })

    test('layers: "none" fetches the config alone', async () => {
      await using client = testClient()
      const image = await makeImage([bytesOf(5000, 31)])
      const target = referenceAt(registry.host, 'lazy:v1')
      await pushImage(client, target, { root: image.root, from: image.store })
      const into = memoryStore()
      await pullImage(client, target, { platform: amd64, into, layers: 'none' })
      expect(await into.find(image.config.digest)).toBeDefined()
      expect(await into.find(image.layers[0]!.digest)).toBeUndefined()
    })

    test('a blob that another repository has is mounted, without its bytes being here', async () => {
      await using client = testClient()
      const image = await makeImage([bytesOf(50_000, 41), bytesOf(10, 42)])
      const base = referenceAt(registry.host, 'base:v1')
      await pushImage(client, base, { root: image.root, from: image.store })
      await image.store.remove(image.layers[0]!.digest)
      const events: TransferEvent[] = []
      await pushImage(client, referenceAt(registry.host, 'child:v1'), {
        root: image.root,
        from: image.store,
        mountFrom: new Map([[image.layers[0]!.digest, ['nowhere', 'base'] as RepositoryName[]]]),
        onEvent: event => events.push(event),
      })
      expect(events).toContainEqual({
        kind: 'blob-mounted',
        digest: image.layers[0]!.digest,
        total: 50_000,
        from: 'base',
      })
    })

    test('several tags are manifest requests only, and the digest resolves too', async () => {
      await using client = testClient()
      const image = await makeImage([bytesOf(100, 51)])
      const target = referenceAt(registry.host, 'tags:a')
      const tags = ['b', 'c', 'a'] as Tag[]
      await pushImage(client, target, { root: image.root, from: image.store, tags })
      for (const name of ['tags:b', 'tags:c', `tags@${image.root.digest}`]) {
        const resolved = await resolveReference(client, referenceAt(registry.host, name))
        expect(resolved.descriptor).toEqual(image.root)
      }
    })

    test('resolveReference() says not-found with the words of the registry', async () => {
      await using client = testClient()
      await expect(
        resolveReference(client, referenceAt(registry.host, 'no/such:tag')),
      ).rejects.toMatchObject({
        code: 'not-found',
        status: 404,
        message: expect.stringMatching(
          /^Cannot pull "127.0.0.1:\d+\/no\/such:tag": registry answered 404 Not Found \(MANIFEST_UNKNOWN: /,
        ),
      })
    })
  })
}
