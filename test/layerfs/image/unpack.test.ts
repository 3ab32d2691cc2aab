import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, expect, it } from 'vitest'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { type UnpackEvent, unpackImage } from '../../../src/layerfs/image/unpack.ts'
import { unpackFlat } from '../../../src/layerfs/image/unpack-flat.ts'
import { hashDiff } from '../../../src/layerfs/layer/diff.ts'
import { openStore, type Store } from '../../../src/layerfs/store.ts'
import { chainId, chainIds } from '../../../src/oci/digest.ts'
import type { ImageConfig } from '../../../src/oci/image-config.ts'
import { type Manifest, parseManifest } from '../../../src/oci/manifest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { describeWith } from '../../support/requires.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { file, tarOf as packed, symlink } from '../layer/layer-support.ts'
import { diffIdOf, makeImage, tarOf } from './sample-image.ts'

afterAll(removeDirectories)

const tars = [
  tarOf({ 'etc/name': 'base', 'etc/old': 'x' }),
  tarOf({ 'etc/name': 'changed' }),
  tarOf({ 'etc/.wh.old': '', 'app/main': 'run' }),
]

async function imageIn(
  store: Store,
  layers: readonly Uint8Array[] = tars,
): Promise<{ manifest: Manifest; config: ImageConfig }> {
  const { target, config } = await makeImage(store.content, layers)
  const { value } = parseManifest(await store.content.read(target.digest), target.mediaType)
  if (value.kind !== 'manifest') throw new Error('expected a manifest')
  return { manifest: value, config }
}

function left(store: Store): string[] {
  const active = join(store.root, 'active')
  return existsSync(active) ? readdirSync(active) : []
}

// Settling a layer mounts the ones below it.
describeWith(['root'], 'unpackImage', () => {
  it('commits every layer under its chain ID and returns the topmost', async () => {
    await using store = await openStore(freshDirectory())
    const image = await imageIn(store)
    const top = await unpackImage(image, store)
    const names = chainIds(tars.map(diffIdOf))
    expect(top).toBe(names.at(-1))
    for (const name of names) expect(await store.snapshots.find(name)).toBeDefined()
    const [upper = '', middle = '', base = ''] = await store.snapshots.layers(names[2] ?? top!)
    expect(readFileSync(join(base, 'etc/name'), 'utf8')).toBe('base')
    expect(readFileSync(join(middle, 'etc/name'), 'utf8')).toBe('changed')
    expect(readFileSync(join(upper, 'app/main'), 'utf8')).toBe('run')
    expect(readdirSync(join(upper, 'etc'))).toEqual(['old'])
    expect(left(store)).toEqual([])
  })

  it('tells when each layer begins and is there, and remembers its blob', async () => {
    await using store = await openStore(freshDirectory())
    const image = await imageIn(store)
    const events: UnpackEvent[] = []
    await unpackImage(image, store, { onEvent: event => events.push(event) })
    for (const kind of ['unpacking', 'unpacked'] as const) {
      const layers = events.filter(event => event.kind === kind).map(({ layer }) => layer)
      expect(layers).toEqual(image.manifest.layers)
    }
    for (const [i, tar] of tars.entries()) {
      expect(await store.layers.find(diffIdOf(tar))).toEqual(image.manifest.layers[i])
    }
  })

  it('unpacked again it does nothing, even without the blobs', async () => {
    await using store = await openStore(freshDirectory())
    const image = await imageIn(store)
    const top = await unpackImage(image, store)
    for (const { digest } of image.manifest.layers) await store.content.remove(digest)
    const events: UnpackEvent[] = []
    expect(await unpackImage(image, store, { onEvent: event => events.push(event) })).toBe(top)
    expect(events).toEqual([])
  })

  it('several at once, of images that share layers, unpack each layer once', async () => {
    const root = freshDirectory()
    const stores = await Promise.all([1, 2].map(() => openStore(root)))
    const [one, two] = stores as [Store, Store]
    const image = await imageIn(one)
    const other = await imageIn(one, tars.slice(0, 2))
    const tops = await Promise.all([
      unpackImage(image, one),
      unpackImage(other, one),
      unpackImage(image, two),
    ])
    expect(tops[0]).toBe(tops[2])
    expect(readdirSync(join(root, 'snapshots'))).toHaveLength(3)
    expect(left(one)).toEqual([])
    for (const store of stores) await store[Symbol.asyncDispose]()
  })

  it('unpacks an image of more layers than it works on at once, without a warning', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => warnings.push(warning)
    process.on('warning', onWarning)
    await using store = await openStore(freshDirectory())
    const many = Array.from({ length: 40 }, (_layer, i) => tarOf({ [`f${i}`]: `${i}` }))
    const top = await unpackImage(await imageIn(store, many), store)
    const layers = (await store.snapshots.layers(top!)).toReversed()
    expect(layers.map(layer => readdirSync(layer)[0])).toEqual(many.map((_layer, i) => `f${i}`))
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })

  it('layers side by side write into none but their own (CVE-2025-47290)', async () => {
    await using store = await openStore(freshDirectory())
    const victim = freshDirectory()
    const links = Array.from({ length: 8 }, (_, i) => symlink(`way${i}`, victim))
    const writes = Array.from({ length: 8 }, (_, i) => file(`way${i}/f`, 'evil'))
    const stack = [links, writes, [...links, ...writes], writes].map(drafts => packed(drafts))
    const top = await unpackImage(await imageIn(store, stack), store)
    expect(await store.snapshots.layers(top!)).toHaveLength(4)
    expect(readdirSync(victim)).toEqual([])
  })

  it('says which layer is damaged, and how, unpacked flat too', async () => {
    await using store = await openStore(freshDirectory())
    const [tar = new Uint8Array()] = tars
    const blob = await putBlob(store.content, [gzipSync(tar), Buffer.from('garbage')])
    const { manifest, config } = await imageIn(store, [tar])
    const descriptor = { mediaType: mediaTypes.layerGzip, ...blob }
    const damaged = { manifest: { ...manifest, layers: [descriptor] }, config }
    const refusal = {
      code: 'invalid',
      message: `Cannot unpack layer ${blob.digest}: cannot decompress: damaged gzip data: something else is behind it`,
    }
    await expect(unpackImage(damaged, store)).rejects.toMatchObject(refusal)
    const options = { target: 'empty', place: store } as const
    const flat = unpackFlat(damaged, freshDirectory(), options)
    await expect(flat).rejects.toMatchObject(refusal)
  })

  it('unpacks hundreds of layers flat, listening to one signal, without a warning', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => warnings.push(warning)
    process.on('warning', onWarning)
    await using store = await openStore(freshDirectory())
    const image = await imageIn(
      store,
      Array.from({ length: 100 }, () => tars[0]!),
    )
    const { signal } = new AbortController()
    await unpackFlat(image, freshDirectory(), { target: 'any', place: store, signal })
    await new Promise(setImmediate)
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })

  it('returns nothing for an image without layers', async () => {
    await using store = await openStore(freshDirectory())
    expect(await unpackImage(await imageIn(store, []), store)).toBeUndefined()
  })

  it('refuses a layer that is not what the config says, and keeps the layers below it', async () => {
    await using store = await openStore(freshDirectory())
    const { manifest, config } = await imageIn(store)
    const wrong = [tars[0], tars[2], tars[2]].map(tar => diffIdOf(tar ?? Buffer.alloc(0)))
    const lying = { ...config, rootfs: { type: 'layers' as const, diff_ids: wrong } }
    await expect(unpackImage({ manifest, config: lying }, store)).rejects.toMatchObject({
      code: 'digest-mismatch',
    })
    for (const { digest } of manifest.layers) expect(await store.content.find(digest)).toBeDefined()
    const [first] = chainIds(wrong)
    for await (const { name } of store.snapshots.list()) expect(name).toBe(first)
    expect(left(store)).toEqual([])
  })

  it('refuses a config with another number of layers than the manifest', async () => {
    await using store = await openStore(freshDirectory())
    const { manifest, config } = await imageIn(store)
    const short = { ...manifest, layers: manifest.layers.slice(1) }
    await expect(unpackImage({ manifest: short, config }, store)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/manifest has 2 layers, its config 3/),
    })
  })

  it('throws not-found for a missing blob, naming it, and leaves nothing active', async () => {
    await using store = await openStore(freshDirectory())
    const image = await imageIn(store)
    const missing = image.manifest.layers[0]!.digest
    await store.content.remove(missing)
    await expect(unpackImage(image, store)).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining(missing),
    })
    expect(left(store)).toEqual([])
    for await (const _any of store.snapshots.list()) expect.fail('nothing can be committed')
  })

  it('removes a blob that the disk changed, saying so, and no other', async () => {
    await using store = await openStore(freshDirectory())
    const { manifest, config } = await imageIn(store)
    const [first, second] = manifest.layers.map(layer => layer.digest)
    const path = store.content.pathOf(second!)
    const bytes = readFileSync(path)
    chmodSync(path, 0o644)
    writeFileSync(path, Buffer.from(bytes).fill(0xff, bytes.length - 4))
    await expect(unpackImage({ manifest, config }, store)).rejects.toMatchObject({
      code: 'digest-mismatch',
      message: expect.stringContaining('removed'),
      hint: 'pull the image again',
    })
    expect(await store.content.find(second!)).toBeUndefined()
    expect(await store.content.find(first!)).toBeDefined()
  })

  it('stops when its signal aborts, leaving nothing active', async () => {
    await using store = await openStore(freshDirectory())
    const image = await imageIn(store)
    const stop = new AbortController()
    const onEvent = () => stop.abort(new Error('interrupted'))
    const unpacking = unpackImage(image, store, { signal: stop.signal, onEvent })
    await expect(unpacking).rejects.toThrow()
    expect(left(store)).toEqual([])
  })

  it.each([undefined, 1_000_000_000])(
    'a layer made here, clamped to %s, travels as a blob and unpacks to the same layer elsewhere',
    async clampTo => {
      await using here = await openStore(freshDirectory())
      const base = await unpackImage(await imageIn(here), here)
      await using active = await here.snapshots.prepare(base)
      writeFileSync(join(active.upper, 'made'), 'here')
      const lower = await here.snapshots.layers(base!)
      const clamp = clampTo === undefined ? {} : { clampTo }
      const { diffId } = await hashDiff({ upper: active.upper, lower, ...clamp })
      const name = chainId(base, diffId)
      await here.snapshots.commit(active, { name, parent: base!, diffId, ...clamp })
      const layer = await here.layers.layerBlob(name)

      await using there = await openStore(freshDirectory())
      const { manifest, config } = await imageIn(there)
      await putBlob(there.content, here.content.open(layer.digest), layer)
      const diff_ids = [...config.rootfs.diff_ids, diffId]
      const image = {
        manifest: { ...manifest, layers: [...manifest.layers, layer] },
        config: { ...config, rootfs: { type: 'layers' as const, diff_ids } },
      }
      expect(await unpackImage(image, there)).toBe(name)
      await there.content.remove(layer.digest)
      expect(await there.layers.layerBlob(name)).toEqual(layer)
    },
  )

  it('gives back, as a blob, the layer that it came from', async () => {
    await using store = await openStore(freshDirectory())
    const image = await imageIn(store)
    const top = await unpackImage(image, store)
    expect(await store.layers.layerBlob(top!)).toEqual(image.manifest.layers.at(-1))
  })
})
