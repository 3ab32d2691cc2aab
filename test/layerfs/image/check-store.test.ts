import { rmSync, writeFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { checkStore, type Finding } from '../../../src/layerfs/image/check-store.ts'
import { openStore, type Store } from '../../../src/layerfs/store.ts'
import { hexOf } from '../../../src/oci/digest.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { describeWith } from '../../support/requires.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { commitLayer } from '../snapshot/snapshotter.contract.ts'
import { makeImage, tarOf } from './sample-image.ts'

afterAll(removeDirectories)

const reference = parseReference('app')

async function findings(store: Store): Promise<Finding[]> {
  const found: Finding[] = []
  for await (const finding of checkStore(store)) found.push(finding)
  return found
}

async function storeWithImage() {
  const store = await openStore(freshDirectory())
  const image = await makeImage(store.content, [tarOf({ file: 'x' })])
  await store.images.set({ reference, target: image.target })
  return { store, ...image, layer: image.layers[0]! }
}

describeWith(['root'], 'checkStore', () => {
  it('has nothing to say about a sound store', async () => {
    const { store } = await storeWithImage()
    const base = await commitLayer(store.snapshots, 'base')
    await commitLayer(store.snapshots, 'top', base.name)
    expect(await findings(store)).toEqual([])
    await store[Symbol.asyncDispose]()
  })

  it('finds a blob whose bytes changed, and the image that cannot be read for it', async () => {
    const { store, target, layer } = await storeWithImage()
    for (const { digest } of [layer, target]) {
      await chmod(store.content.pathOf(digest), 0o644)
      writeFileSync(store.content.pathOf(digest), 'changed')
    }
    expect((await findings(store)).map(({ kind }) => kind).sort()).toEqual([
      'damaged-blob',
      'damaged-blob',
      'damaged-image',
    ])
    await store[Symbol.asyncDispose]()
  })

  it('finds a layer that is neither a blob nor unpacked', async () => {
    const { store, layer } = await storeWithImage()
    await store.content.remove(layer.digest)
    expect(await findings(store)).toMatchObject([{ kind: 'missing-layer', layer }])
    await store[Symbol.asyncDispose]()
  })

  it('finds snapshots without their files or without what they build on', async () => {
    const { store } = await storeWithImage()
    const a = await commitLayer(store.snapshots, 'a')
    const b = await commitLayer(store.snapshots, 'b', a.name)
    const c = await commitLayer(store.snapshots, 'c')
    rmSync(join(store.root, 'snapshots', hexOf(a.name)), { recursive: true })
    rmSync(join(store.root, 'snapshots', hexOf(c.name), 'fs'), { recursive: true })
    const names = (await findings(store)).map(found =>
      found.kind === 'damaged-snapshot' ? found.name : found.kind,
    )
    expect(names.sort()).toEqual([b.name, c.name].sort())
    await store[Symbol.asyncDispose]()
  })
})
