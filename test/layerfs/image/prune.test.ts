import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { discardDownloads, type Pruned, pruneStore } from '../../../src/layerfs/image/prune.ts'
import { openSnapshotter } from '../../../src/layerfs/snapshot/overlay.ts'
import { openTrash, type Trash } from '../../../src/layerfs/snapshot/trash.ts'
import { openStore, type Store } from '../../../src/layerfs/store.ts'
import { type ChainId, digestOf, hexOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { describeWith } from '../../support/requires.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { commitLayer, layerNamed } from '../snapshot/snapshotter.contract.ts'
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

/** What this test itself has in hand is not meant to be kept. */
async function prune(store: Store, keep: readonly ChainId[] = []): Promise<Pruned> {
  store.letGo()
  return await pruneStore(store, async () => keep)
}

describeWith(['root'], 'pruneStore', () => {
  it('keeps an image and all its blobs, and removes what nothing refers to', async () => {
    await using store = await openStore(freshDirectory())
    const { target } = await makeImage(store.content, [tar])
    await store.images.set({ reference, target })
    const before = await blobs(store)
    const { digest, size } = await putBlob(store.content, [Buffer.from('nobody needs this')])
    expect(await prune(store)).toEqual({ blobs: [{ digest, size }], snapshots: [] })
    expect(await blobs(store)).toEqual(before)
    await store.images.remove(reference)
    await prune(store)
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
    const pruned = await prune(store, [cached.name])
    expect(pruned.snapshots).toEqual([lost])
    expect((await snapshots(store)).sort()).toEqual([base, used, cached].map(s => s.name).sort())
    expect(await blobs(store)).toEqual([blob.digest])
    expect(readdirSync(join(root, 'layers'))).toEqual([`${hexOf(base.diffId)}.json`])
    await store.containers.remove(held.id)
    await prune(store)
    expect(await snapshots(store)).toEqual([])
    expect(await blobs(store)).toEqual([])
    expect(readdirSync(join(root, 'layers'))).toEqual([])
  })

  it('keeps what a running step builds on', async () => {
    await using store = await openStore(freshDirectory())
    const { name } = await commitLayer(store.snapshots, 'base')
    await using _active = await store.snapshots.prepare(name)
    await prune(store)
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
    await prune(store)
    expect(await blobs(store)).toEqual(before)
  })

  it('takes nothing that another process has found, made or begun to use, and the rest', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    const found = await putBlob(store.content, [Buffer.from('found')])
    const lost = await putBlob(store.content, [Buffer.from('lost')])
    const base = await commitLayer(store.snapshots, 'base')
    const top = await commitLayer(store.snapshots, 'top', base.name)
    const other = await openStore(root)
    expect(await other.content.find(found.digest)).toEqual(found)
    expect(await other.snapshots.find(top.name)).toEqual(top)
    const made = await putBlob(other.content, [Buffer.from('made')])
    expect(await prune(store)).toEqual({ blobs: [lost], snapshots: [] })
    expect(await blobs(store)).toEqual([found.digest, made.digest].sort())
    other.letGo()
    const later = await prune(store)
    expect(later.snapshots).toHaveLength(2)
    expect(await blobs(store)).toEqual([])
    await other[Symbol.asyncDispose]()
  })

  it('takes nothing of an image that was named when another process asked for it', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    const { target } = await makeImage(store.content, [tar])
    await store.images.set({ reference, target })
    const before = await blobs(store)
    await using other = await openStore(root)
    await other.images.get(reference)
    await store.images.remove(reference)
    expect(await prune(store)).toEqual({ blobs: [], snapshots: [] })
    expect(await blobs(store)).toEqual(before)
    other.letGo()
    await prune(store)
    expect(await blobs(store)).toEqual([])
  })

  it('keeps what is remembered of a layer that is being unpacked', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    await using other = await openStore(root)
    const { diffId } = layerNamed('arriving')
    const blob = await putBlob(other.content, [Buffer.from('arriving')])
    await other.layers.recordLayer(diffId, { mediaType: mediaTypes.layer, ...blob })
    await prune(store)
    expect(await other.layers.blobsOf(diffId)).toHaveLength(1)
    other.letGo()
    await prune(store)
    expect(await store.layers.blobsOf(diffId)).toEqual([])
  })

  it('killed half-way it leaves no snapshot without those below', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    let parent: ChainId | undefined
    for (const text of ['a', 'b', 'c', 'd']) {
      parent = (await commitLayer(store.snapshots, text, parent)).name
    }
    let left = 2
    const dying: Trash = {
      ...openTrash(join(root, 'trash')),
      discard: path =>
        left-- > 0
          ? openTrash(join(root, 'trash')).discard(path)
          : Promise.reject(new Error('killed')),
    }
    await expect(openSnapshotter(root, { trash: dying }).prune([])).rejects.toThrow('killed')
    const names = await snapshots(store)
    expect(names).toHaveLength(2)
    for (const name of names) expect(await store.snapshots.layers(name)).not.toEqual([])
  })

  it('does not wait for a download that goes on, and takes one that nobody goes on with', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    const begin = async (text: string) => {
      const bytes = Buffer.alloc(2_000_000, text)
      const blob = { digest: digestOf(bytes), size: bytes.length }
      const download = await store.content.download(blob)
      await download?.write(bytes.subarray(0, 1_500_000))
      return { download, bytes }
    }
    const left = await begin('left')
    await left.download?.[Symbol.asyncDispose]()
    const going = await begin('going')
    await discardDownloads(store)
    expect(readdirSync(join(root, 'ingest'))).toHaveLength(1)
    await going.download?.write(going.bytes.subarray(1_500_000))
    await going.download?.commit()
    expect(await store.content.find(digestOf(going.bytes))).toBeDefined()
  })
})
