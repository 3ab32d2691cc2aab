import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, expect, it } from 'vitest'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { openContentStore } from '../../../src/layerfs/content/directory-store.ts'
import { openLayerBlobs } from '../../../src/layerfs/image/layer-blobs.ts'
import type { LayerDiff } from '../../../src/layerfs/image/layer-tar.ts'
import { openSnapshotter } from '../../../src/layerfs/snapshot/overlay.ts'
import { hexOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { describeWith } from '../../support/requires.ts'
import { readBlob } from '../content/content-store.contract.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { commitLayer, layerNamed } from '../snapshot/snapshotter.contract.ts'

afterAll(removeDirectories)

/** A store whose diff of any layer is the text that `layerNamed` hashes, and counts its calls. */
function place(text = 'the tar') {
  const root = freshDirectory()
  const content = openContentStore(root)
  const snapshots = openSnapshotter(root)
  const calls: Parameters<LayerDiff>[0][] = []
  const diff: LayerDiff = layer => {
    calls.push(layer)
    return [Buffer.from(text.slice(0, 3)), Buffer.from(text.slice(3))]
  }
  const directory = join(root, 'layers')
  const locks = join(root, 'locks')
  const layers = openLayerBlobs({
    directory,
    locks,
    content,
    snapshots,
    diff,
    hold: async () => false,
  })
  return { root, content, snapshots, layers, calls }
}

describeWith(['root'], 'layerBlob', () => {
  it('makes the gzip of the layer, verified against its diff ID', async () => {
    const { content, snapshots, layers, calls } = place()
    const base = await commitLayer(snapshots, 'base')
    const { name } = await commitLayer(snapshots, 'the tar', base.name)
    const descriptor = await layers.layerBlob(name)
    expect(descriptor.mediaType).toBe(mediaTypes.layerGzip)
    expect(gunzipSync(await readBlob(content, descriptor.digest)).toString()).toBe('the tar')
    const [upper, ...lower] = await snapshots.layers(name)
    expect(calls).toEqual([{ upper, lower }])
  })

  it('sends the tar of a packed layer as it is, and needs none of its files', async () => {
    const { content, snapshots, layers, calls } = place()
    const info = layerNamed('packed')
    await using staged = await snapshots.stagePacked()
    writeFileSync(staged.tar, 'packed')
    await snapshots.commit(staged, info)
    const { digest } = await layers.layerBlob(info.name)
    expect(gunzipSync(await readBlob(content, digest)).toString()).toBe('packed')
    expect(calls).toEqual([])
    expect(await snapshots.kept(info.name)).toEqual([await snapshots.packedTar(info.name)])
  })

  it('makes it once: asked again, or by several at once, it is the same blob', async () => {
    const { snapshots, layers, calls } = place()
    const { name, diffId } = await commitLayer(snapshots, 'the tar')
    const made = await Promise.all([1, 2, 3].map(() => layers.layerBlob(name)))
    expect(new Set(made.map(({ digest }) => digest)).size).toBe(1)
    expect(calls).toHaveLength(1)
    expect(await layers.find(diffId)).toEqual(made[0])
  })

  it('keeps each compression apart', async () => {
    const { content, snapshots, layers, calls } = place()
    const { name } = await commitLayer(snapshots, 'the tar')
    const zipped = await layers.layerBlob(name)
    const plain = await layers.layerBlob(name, { compression: 'none' })
    expect(plain.mediaType).toBe(mediaTypes.layer)
    expect((await readBlob(content, plain.digest)).toString()).toBe('the tar')
    expect(await layers.layerBlob(name, { compression: 'gzip' })).toEqual(zipped)
    expect(calls).toHaveLength(2)
  })

  it('hands on a layer that was received as it came', async () => {
    const { content, snapshots, layers, calls } = place()
    const { name, diffId } = await commitLayer(snapshots, 'the tar')
    const { digest, size } = await putBlob(content, [Buffer.from('as it came')])
    const received = { mediaType: mediaTypes.dockerLayerGzip, digest, size }
    await layers.recordLayer(diffId, received)
    expect(await layers.layerBlob(name)).toEqual(received)
    expect(await layers.layerBlob(name, { compression: 'none' })).toEqual(received)
    expect(calls).toEqual([])
  })

  it('makes it again when the blob is gone or the record damaged', async () => {
    const { root, content, snapshots, layers, calls } = place()
    const { name, diffId } = await commitLayer(snapshots, 'the tar')
    const first = await layers.layerBlob(name)
    await content.remove(first.digest)
    expect(await layers.find(diffId)).toBeUndefined()
    expect(await layers.layerBlob(name)).toEqual(first)
    writeFileSync(join(root, 'layers', `${hexOf(diffId)}.json`), '{')
    expect(await layers.layerBlob(name)).toEqual(first)
    expect(calls).toHaveLength(3)
  })

  it('refuses files that no longer make the tar, and stores nothing', async () => {
    const { root, snapshots, layers } = place('another tar')
    const { name } = await commitLayer(snapshots, 'the tar')
    await expect(layers.layerBlob(name)).rejects.toMatchObject({
      code: 'digest-mismatch',
      hint: expect.any(String),
    })
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
    expect(readdirSync(root)).not.toContain('blobs')
  })

  it('throws not-found without such a snapshot, and stops when its signal aborts', async () => {
    const { snapshots, layers } = place()
    const unknown = layerNamed('unknown').name
    await expect(layers.layerBlob(unknown)).rejects.toMatchObject({ code: 'not-found' })
    const { name } = await commitLayer(snapshots, 'the tar')
    const signal = AbortSignal.abort(new Error('interrupted'))
    await expect(layers.layerBlob(name, { signal })).rejects.toThrow('interrupted')
  })
})
