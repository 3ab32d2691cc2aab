import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { pruneStore } from '../../../src/layerfs/image/prune.ts'
import { openStore, type Store } from '../../../src/layerfs/store.ts'
import { type ChainId, digestOf, hexOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { describeWith } from '../../support/requires.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { commitLayer } from '../snapshot/snapshotter.contract.ts'
import { makeImage, tarOf } from './sample-image.ts'

afterAll(removeDirectories)

const reference = parseReference('app')
const tar = tarOf({ file: 'x' })

async function blobs(store: Store): Promise<string[]> {
  const digests: string[] = []
  for await (const { digest } of store.content.list()) digests.push(digest)
  return digests.sort()
}

async function snapshots(store: Store): Promise<ChainId[]> {
  const names: ChainId[] = []
  for await (const { name } of store.snapshots.list()) names.push(name)
  return names
}

describeWith(['root'], 'pruneStore', () => {
  it('keeps an image and all its blobs, and removes what nothing refers to', async () => {
    await using store = await openStore(freshDirectory())
    const { target } = await makeImage(store.content, [tar])
    await store.images.set({ reference, target })
    const before = await blobs(store)
    const { digest, size } = await putBlob(store.content, [Buffer.from('nobody needs this')])
    expect(await pruneStore(store, [])).toEqual({ blobs: [{ digest, size }], snapshots: [] })
    expect(await blobs(store)).toEqual(before)
    await store.images.remove(reference)
    await pruneStore(store, [])
    expect(await blobs(store)).toEqual([])
  })

  it('keeps snapshots of containers and of `keep`, with their ancestors and layer blobs', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    const base = await commitLayer(store.snapshots, 'base')
    const used = await commitLayer(store.snapshots, 'used', base.name)
    const cached = await commitLayer(store.snapshots, 'cached', base.name)
    const lost = await commitLayer(store.snapshots, 'lost', used.name)
    const blob = await putBlob(store.content, [Buffer.from('base layer')])
    const descriptor = { mediaType: mediaTypes.layer, ...blob }
    for (const { diffId } of [base, lost]) await store.layers.recordLayer(diffId, descriptor)
    const held = await store.containers.create(used.name, {})
    held[Symbol.dispose]()
    const pruned = await pruneStore(store, [cached.name])
    expect(pruned.snapshots).toEqual([lost])
    expect((await snapshots(store)).sort()).toEqual([base, used, cached].map(s => s.name).sort())
    expect(await blobs(store)).toEqual([blob.digest])
    expect(readdirSync(join(root, 'layers'))).toEqual([`${hexOf(base.diffId)}.json`])
    await store.containers.remove(held.id)
    await pruneStore(store, [])
    expect(await snapshots(store)).toEqual([])
    expect(await blobs(store)).toEqual([])
    expect(readdirSync(join(root, 'layers'))).toEqual([])
  })

  it('keeps what a running step builds on', async () => {
    await using store = await openStore(freshDirectory())
    const { name } = await commitLayer(store.snapshots, 'base')
    await using _active = await store.snapshots.prepare(name)
    await pruneStore(store, [])
    expect(await snapshots(store)).toEqual([name])
  })

  it('keeps what can be read of a damaged image', async () => {
    await using store = await openStore(freshDirectory())
    const { target, layers } = await makeImage(store.content, [tar])
    const gone = { mediaType: mediaTypes.manifest, digest: digestOf('gone'), size: 4 }
    await store.images.set({ reference: parseReference('gone'), target: gone })
    await store.images.set({ reference, target })
    await store.content.remove(layers[0]?.digest ?? target.digest)
    const before = await blobs(store)
    await pruneStore(store, [])
    expect(await blobs(store)).toEqual(before)
  })

  it('refuses while another process may bring something in, and only then', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    const other = await openStore(root)
    await expect(pruneStore(store, [])).rejects.toMatchObject({ code: 'conflict' })
    other.stopWriting()
    await pruneStore(store, [])
    await other[Symbol.asyncDispose]()
    await pruneStore(store, [])
  })

  it('lets nobody open the store meanwhile', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    let opened = false
    let opening: Promise<void> | undefined
    await store.exclusively(async () => {
      opening = openStore(root).then(async other => {
        opened = true
        await other[Symbol.asyncDispose]()
      })
      await new Promise(resolve => setTimeout(resolve, 30))
      expect(opened).toBe(false)
    })
    await opening
    expect(opened).toBe(true)
  })
})
