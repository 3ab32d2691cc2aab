/**
 * What every Snapshotter promises: the invariants (1)–(3) of snapshotter.ts.
 */
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type {
  SnapshotInfo,
  Snapshotter,
  StagedLayer,
} from '../../../src/layerfs/snapshot/snapshotter.ts'
import { type ChainId, chainId, digestOf, parseDiffId } from '../../../src/oci/digest.ts'

/** The record of a layer whose diff ID follows from `text`. */
export function layerNamed(text: string, parent?: ChainId): SnapshotInfo {
  const diffId = parseDiffId(digestOf(text))
  const name = chainId(parent, diffId)
  return parent === undefined ? { name, diffId } : { name, parent, diffId }
}

export async function commitLayer(
  snapshots: Snapshotter,
  text: string,
  parent?: ChainId,
): Promise<SnapshotInfo> {
  await using active = await snapshots.prepare(parent)
  await writeFile(join(active.upper, text), text)
  const info = layerNamed(text, parent)
  await snapshots.commit(active, info)
  return info
}

export function snapshotterContract(open: () => Promise<Snapshotter>): void {
  it('commit() gives what was written its name', async () => {
    const snapshots = await open()
    const info = await commitLayer(snapshots, 'a')
    expect(await snapshots.find(info.name)).toEqual(info)
    const [top = ''] = await snapshots.layers(info.name)
    expect(readFileSync(join(top, 'a'), 'utf8')).toBe('a')
  })

  it('layers() tells the directories top first', async () => {
    const snapshots = await open()
    const a = await commitLayer(snapshots, 'a')
    const b = await commitLayer(snapshots, 'b', a.name)
    const c = await commitLayer(snapshots, 'c', b.name)
    const layers = await snapshots.layers(c.name)
    expect(layers.map((layer, i) => existsSync(join(layer, ['c', 'b', 'a'][i] ?? '')))).toEqual([
      true,
      true,
      true,
    ])
  })

  it('prepare() on nothing is an empty root with mode 0755', async () => {
    const snapshots = await open()
    await using active = await snapshots.prepare(undefined)
    expect(active.mount).toMatchObject({ kind: 'overlay', lower: [], upper: active.upper })
    expect(statSync(active.upper).mode & 0o7777).toBe(0o755)
  })

  it('prepare() stacks the layers below, and the root keeps its mode', async () => {
    const snapshots = await open()
    const info = await commitLayer(snapshots, 'a')
    const layers = await snapshots.layers(info.name)
    await using active = await snapshots.prepare(info.name)
    expect(active.parent).toBe(info.name)
    expect(active.mount).toMatchObject({ kind: 'overlay', lower: layers })
    expect(statSync(active.upper).mode).toBe(statSync(layers[0] ?? '').mode)
  })

  it('prepare() and view() leave out layers that have nothing, which layers() tells', async () => {
    const snapshots = await open()
    // A tar without entries: two blocks of zeros.
    const diffId = parseDiffId(digestOf(Buffer.alloc(1024)))
    const commitEmpty = async (parent?: ChainId, rootMode?: number) => {
      const name = chainId(parent, diffId)
      await using active = await snapshots.prepare(parent)
      if (rootMode !== undefined) chmodSync(active.upper, rootMode)
      await snapshots.commit(active, { name, diffId, ...(parent === undefined ? {} : { parent }) })
      return name
    }
    const a = await commitLayer(snapshots, 'a')
    const [full = ''] = await snapshots.layers(a.name)
    const top = await commitEmpty(await commitEmpty(a.name))
    expect(await snapshots.layers(top)).toHaveLength(3)
    expect(await snapshots.view(top)).toEqual({ kind: 'directory', path: full, readOnly: true })
    await using active = await snapshots.prepare(top)
    expect(active).toMatchObject({ parent: top, lower: [full], mount: { lower: [full] } })
    const alone = await commitEmpty()
    await using onAlone = await snapshots.prepare(alone)
    expect(onAlone.lower).toEqual(await snapshots.layers(alone))
    // What has another root is seen by it.
    const closed = await commitEmpty(top, 0o700)
    await using onClosed = await snapshots.prepare(closed)
    expect(onClosed.lower).toEqual([(await snapshots.layers(closed))[0], full])
    expect(statSync(onClosed.upper).mode & 0o777).toBe(0o700)
  })

  it('prepare(), view() and layers() throw not-found for an unknown name', async () => {
    const snapshots = await open()
    const { name } = layerNamed('unknown')
    await expect(snapshots.prepare(name)).rejects.toMatchObject({ code: 'not-found' })
    await expect(snapshots.view(name)).rejects.toMatchObject({ code: 'not-found' })
    await expect(snapshots.layers(name)).rejects.toMatchObject({ code: 'not-found' })
    expect(await snapshots.find(name)).toBeUndefined()
  })

  it('stage() takes layers side by side; they are committed from the bottom', async () => {
    const snapshots = await open()
    const staged = await Promise.all(['a', 'b'].map(() => snapshots.stage()))
    await Promise.all(staged.map((layer, i) => writeFile(join(layer.upper, `${i}`), '')))
    const a = layerNamed('a')
    const b = layerNamed('b', a.name)
    const [lower, upper] = staged as [StagedLayer, StagedLayer]
    await expect(snapshots.commit(upper, b)).rejects.toMatchObject({ code: 'not-found' })
    await snapshots.commit(lower, a)
    await snapshots.commit(upper, b)
    const layers = await snapshots.layers(b.name)
    expect(layers.map(layer => existsSync(join(layer, '1')))).toEqual([true, false])
  })

  it('(1) commit() refuses a name that is not the chain ID of parent and layer', async () => {
    const snapshots = await open()
    await using active = await snapshots.prepare(undefined)
    const wrong = { ...layerNamed('a'), name: layerNamed('b').name }
    await expect(snapshots.commit(active, wrong)).rejects.toMatchObject({ code: 'invalid' })
    expect(await names(snapshots)).toEqual([])
  })

  it('(2) of several commits under one name the first stands, and the others leave nothing', async () => {
    const snapshots = await open()
    const active = await Promise.all(Array.from({ length: 5 }, () => snapshots.prepare(undefined)))
    const info = layerNamed('same')
    await Promise.all(
      active.map(async (one, i) => {
        await writeFile(join(one.upper, `from-${i}`), '')
        await snapshots.commit(one, info)
      }),
    )
    expect(await names(snapshots)).toEqual([info.name])
    for (const { upper } of active) expect(existsSync(upper)).toBe(false)
  })

  it('(3) an active snapshot that is disposed without a commit leaves nothing', async () => {
    const snapshots = await open()
    const active = await snapshots.prepare(undefined)
    await writeFile(join(active.upper, 'x'), '')
    await active[Symbol.asyncDispose]()
    await active[Symbol.asyncDispose]()
    expect(existsSync(active.upper)).toBe(false)
    expect(await names(snapshots)).toEqual([])
  })

  it('view() of one layer is its directory, of several an overlay without a writable one', async () => {
    const snapshots = await open()
    const a = await commitLayer(snapshots, 'a')
    const b = await commitLayer(snapshots, 'b', a.name)
    const layers = await snapshots.layers(b.name)
    expect(await snapshots.view(a.name)).toEqual({
      kind: 'directory',
      path: layers[1],
      readOnly: true,
    })
    expect(await snapshots.view(b.name)).toEqual({ kind: 'overlay', lower: layers })
  })

  it('(1) remove() refuses while a snapshot, committed or active, builds on it', async () => {
    const snapshots = await open()
    const a = await commitLayer(snapshots, 'a')
    const b = await commitLayer(snapshots, 'b', a.name)
    await expect(snapshots.remove(a.name)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(b.name),
    })
    const active = await snapshots.prepare(b.name)
    await expect(snapshots.remove(b.name)).rejects.toMatchObject({ code: 'conflict' })
    await active[Symbol.asyncDispose]()
    await snapshots.remove(b.name)
    await snapshots.remove(a.name)
    await snapshots.remove(a.name)
    expect(await names(snapshots)).toEqual([])
  })
}

async function names(snapshots: Snapshotter): Promise<ChainId[]> {
  const found: ChainId[] = []
  for await (const { name } of snapshots.list()) found.push(name)
  return found
}
