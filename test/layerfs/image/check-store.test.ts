import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import {
  type CheckOptions,
  checkStore,
  type Finding,
} from '../../../src/layerfs/image/check-store.ts'
import { diffLayer } from '../../../src/layerfs/layer/diff.ts'
import { openStore, type Store } from '../../../src/layerfs/store.ts'
import { chainId, digestOf, hexOf, parseDiffId } from '../../../src/oci/digest.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { describeWith } from '../../support/requires.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { commitLayer } from '../snapshot/snapshotter.contract.ts'
import { makeImage, tarOf } from './sample-image.ts'

afterAll(removeDirectories)

const reference = parseReference('app')

async function findings(
  store: Store,
  contents: CheckOptions['contents'] = 'blobs',
): Promise<Finding[]> {
  const found: Finding[] = []
  for await (const finding of checkStore(store, { contents })) found.push(finding)
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

  it('reads the tar of a packed layer, and unpacks none', async () => {
    const { store } = await storeWithImage()
    const files = freshDirectory()
    writeFileSync(join(files, 'file'), 'content')
    const tar = Buffer.concat([...diffLayer({ upper: files, lower: [] })])
    const diffId = parseDiffId(digestOf(tar))
    const name = chainId(undefined, diffId)
    await using staged = await store.snapshots.stagePacked()
    writeFileSync(staged.tar, tar)
    await store.snapshots.commit(staged, { name, diffId })
    const path = join(store.root, 'snapshots', hexOf(name))
    const named = async () =>
      (await findings(store, 'read')).map(found => 'name' in found && found.name)
    expect(await named()).toEqual([])
    expect(readdirSync(path)).not.toContain('fs')
    await store.snapshots.layers(name)
    expect(await named()).toEqual([])
    const [layer = ''] = await store.snapshots.layers(name)
    writeFileSync(join(layer, 'file'), 'CONTENT')
    expect(await named()).toEqual([name])
    rmSync(layer, { recursive: true })
    expect(await named()).toEqual([])
    const damaged = readFileSync(join(path, 'layer.tar'))
    damaged.write('CONTENT', damaged.indexOf('content'))
    writeFileSync(join(path, 'layer.tar'), damaged)
    expect(await named()).toEqual([name])
    rmSync(join(path, 'layer.tar'))
    expect(await named()).toEqual([name])
    await store[Symbol.asyncDispose]()
  })
})
