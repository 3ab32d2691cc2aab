/** Layers unpacked while others are still on their way: what one side's end means for the other. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { unpackImage } from '../../../src/layerfs/image/unpack.ts'
import { openStore, type Store } from '../../../src/layerfs/store.ts'
import { chainIds, type Digest } from '../../../src/oci/digest.ts'
import { pullImage } from '../../../src/registry/client/pull.ts'
import { freshDirectory, removeDirectories } from '../../layerfs/content/scratch.ts'
import { diffIdOf, makeImage, tarOf } from '../../layerfs/image/sample-image.ts'
import { describeWith } from '../../support/requires.ts'
import { fakeRegistry } from './fake-registry.ts'
import { amd64, referenceAt, testClient } from './images.ts'

afterAll(removeDirectories)

const tars = [tarOf({ 'etc/name': 'base' }), tarOf({ 'etc/name': 'changed' }), tarOf({ top: '3' })]
const chains = chainIds(tars.map(diffIdOf))

interface Pull {
  readonly tars?: readonly Uint8Array[]
  /** Before a layer is sent, lowest 0: `false` breaks its download off. */
  readonly onRequest: (layer: number, digests: readonly Digest[]) => Promise<boolean>
  readonly signal?: AbortSignal
}

/** Pulls and unpacks what `onRequest` lets pass. */
async function pull(store: Store, { onRequest, signal, ...image }: Pull) {
  const from = memoryStore()
  const { target, layers } = await makeImage(from, image.tars ?? tars)
  const digests = layers.map(({ digest }) => digest)
  await using registry = await fakeRegistry({
    before: async (request, response) => {
      const layer = digests.indexOf((request.url ?? '').split('/').at(-1) as Digest)
      if (layer < 0 || (await onRequest(layer, digests))) return false
      response.writeHead(403).end()
      return true
    },
  })
  for await (const { digest } of from.list()) registry.blobs.set(digest, await from.read(digest))
  const manifest = { type: target.mediaType, bytes: await from.read(target.digest) }
  registry.manifests.set('1', manifest).set(target.digest, manifest)
  await using client = testClient({})
  return await pullImage(client, referenceAt(registry.host, 'team/app:1'), {
    platform: amd64,
    into: store.content,
    layers: 'all',
    use: ({ manifest, config, ...ways }) => unpackImage({ manifest, config }, store, ways),
    ...(signal === undefined ? {} : { signal }),
  })
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 5))
}

const isUnpacked = async (store: Store, layer: number) =>
  (await store.snapshots.find(chains[layer]!)) !== undefined

/** Neither layers in the making nor documents of an image that is not there. */
async function expectNoHalves(store: Store): Promise<void> {
  const active = join(store.root, 'active')
  expect(existsSync(active) ? readdirSync(active) : []).toEqual([])
  const found = []
  for await (const { digest } of store.content.list()) found.push(await store.content.read(digest))
  expect(found.filter(bytes => Buffer.from(bytes).includes('"layers":['))).toEqual([])
}

describeWith(['root'], 'pullImage(), unpacking beside it', () => {
  it('a layer is unpacked while one above it is not yet sent', async () => {
    await using store = await openStore(freshDirectory())
    await pull(store, {
      onRequest: async layer => {
        if (layer === 2) await until(() => isUnpacked(store, 1))
        return true
      },
    })
    expect(await isUnpacked(store, 2)).toBe(true)
  })

  it('a layer that arrives before the ones below it waits for them', async () => {
    await using store = await openStore(freshDirectory())
    const { manifest } = await pull(store, {
      onRequest: async (layer, digests) => {
        if (layer > 0) return true
        for (const digest of digests.slice(1)) {
          await until(async () => (await store.content.find(digest)) !== undefined)
        }
        expect(await isUnpacked(store, 1)).toBe(false)
        return true
      },
    })
    expect(await isUnpacked(store, 2)).toBe(true)
    expect(await store.content.find(manifest.digest)).toBeDefined()
  })

  it('a download that fails stops the unpacking; layers that were finished stay', async () => {
    await using store = await openStore(freshDirectory())
    const pulling = pull(store, {
      onRequest: async layer => {
        if (layer < 2) return true
        await until(() => isUnpacked(store, 0))
        return false
      },
    })
    await expect(pulling).rejects.toMatchObject({ code: 'denied' })
    expect(await isUnpacked(store, 0)).toBe(true)
    expect(await isUnpacked(store, 2)).toBe(false)
    await expectNoHalves(store)
  })

  it('a layer that cannot be unpacked stops the download', async () => {
    await using store = await openStore(freshDirectory())
    const broken = Buffer.from('no tar at all')
    let release = () => {}
    const held = new Promise<void>(resolve => {
      release = resolve
    })
    const pulling = pull(store, {
      tars: [broken, ...tars.slice(1)],
      onRequest: async layer => {
        if (layer === 2) await held
        return true
      },
    })
    // Before the last layer is sent.
    const failure = await pulling.catch((error: unknown) => error)
    release()
    expect(failure).toMatchObject({ code: 'invalid' })
    await expectNoHalves(store)
  })

  it('its signal stops both', async () => {
    await using store = await openStore(freshDirectory())
    const stop = new AbortController()
    const pulling = pull(store, {
      onRequest: async layer => {
        if (layer === 2) stop.abort(new Error('interrupted'))
        return true
      },
      signal: stop.signal,
    })
    await expect(pulling).rejects.toThrow('interrupted')
    await expectNoHalves(store)
  })
})
