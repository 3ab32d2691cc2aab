import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { openLeases } from '../../../src/layerfs/content/leases.ts'
import { openSnapshotter } from '../../../src/layerfs/snapshot/overlay.ts'
import type { SnapshotInfo } from '../../../src/layerfs/snapshot/snapshotter.ts'
import { type ChainId, chainId, digestOf, hexOf, parseDiffId } from '../../../src/oci/digest.ts'
import { describeWith } from '../../support/requires.ts'
import { removeCompiled, startProcess } from '../content/processes.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { tarOf } from '../image/sample-image.ts'
import { commitLayer, layerNamed, snapshotterContract } from './snapshotter.contract.ts'

afterAll(removeDirectories)
afterAll(removeCompiled)

const killings = 30
/** Each has a thread to start first. */
const unpackKillings = 12

/** Makes the next {@link openSnapshotter} believe that the machine was started anew. */
function reboot(root: string): void {
  writeFileSync(join(root, 'boot'), 'another boot')
}

/** As a snapshot on top of `parent`. */
function layerOf(tar: Buffer, parent?: ChainId): SnapshotInfo {
  const diffId = parseDiffId(digestOf(tar))
  return { name: chainId(parent, diffId), diffId, ...(parent === undefined ? {} : { parent }) }
}

describeWith(['root'], 'openSnapshotter', () => {
  snapshotterContract(async () => openSnapshotter(freshDirectory()))

  it('prepare() gives the root the mode of the layer below', async () => {
    const snapshots = openSnapshotter(freshDirectory())
    await using base = await snapshots.prepare(undefined)
    await chmod(base.upper, 0o1711)
    await snapshots.commit(base, layerNamed('base'))
    await using active = await snapshots.prepare(layerNamed('base').name)
    const mode = execFileSync('stat', ['-c', '%a', active.upper], { encoding: 'utf8' })
    expect(mode.trim()).toBe('1711')
  })

  it('sweep() discards what nobody holds and leaves what somebody does', async () => {
    const root = freshDirectory()
    await using living = await openSnapshotter(root).prepare(undefined)
    mkdirSync(join(root, 'active', 'left-by-a-killed-process', 'fs'), { recursive: true })
    await openSnapshotter(root).sweep()
    expect(readdirSync(join(root, 'active'))).toEqual([living.key])
  })

  it('a damaged record is no snapshot, and does not stand in the way of a new one', async () => {
    const root = freshDirectory()
    const snapshots = openSnapshotter(root)
    const { name } = await commitLayer(snapshots, 'a')
    writeFileSync(join(root, 'snapshots', hexOf(name), 'meta.json'), '')
    expect(await snapshots.find(name)).toBeUndefined()
    await commitLayer(snapshots, 'a')
    expect(await snapshots.find(name)).toBeDefined()
  })

  it('what is not held any more is looked for again, also when it was found before', async () => {
    const root = freshDirectory()
    const leases = openLeases(root)
    const snapshots = openSnapshotter(root, { hold: leases.hold })
    const { name } = await commitLayer(snapshots, 'a')
    expect(await snapshots.find(name)).toMatchObject({ name })
    leases.letGo()
    await openSnapshotter(root).remove(name)
    expect(await snapshots.find(name)).toBeUndefined()
    await expect(snapshots.layers(name)).rejects.toMatchObject({ code: 'not-found' })
  })
})

describeWith(['root'], 'sweep() after a boot', () => {
  it('keeps what had reached the disk', async () => {
    const root = freshDirectory()
    const snapshots = openSnapshotter(root)
    await snapshots.sweep()
    const { name } = await commitLayer(snapshots, 'a')
    snapshots.settle()
    const mark = join(root, 'snapshots', hexOf(name), 'synced')
    while (!existsSync(mark)) await pause(10)
    reboot(root)
    const next = openSnapshotter(root)
    await next.sweep()
    expect(await next.find(name)).toBeDefined()
  })

  it('discards what had not, and all that builds on it', async () => {
    const root = freshDirectory()
    const snapshots = openSnapshotter(root)
    const safe = await commitLayer(snapshots, 'safe')
    const unsafe = await commitLayer(snapshots, 'unsafe', safe.name)
    const child = await commitLayer(snapshots, 'child', unsafe.name)
    for (const { name } of [safe, child]) {
      writeFileSync(join(root, 'snapshots', hexOf(name), 'synced'), '')
    }
    await snapshots.sweep()
    expect(await snapshots.find(unsafe.name)).toBeUndefined()
    expect(await snapshots.find(child.name)).toBeUndefined()
    expect(await snapshots.find(safe.name)).toBeDefined()
  })

  it('happens once: in the same boot a sweep keeps everything', async () => {
    const snapshots = openSnapshotter(freshDirectory())
    await snapshots.sweep()
    const { name } = await commitLayer(snapshots, 'a')
    await snapshots.sweep()
    expect(await snapshots.find(name)).toBeDefined()
  })
})

describeWith(['root'], 'a packed layer', () => {
  const tar = tarOf({ file: 'content', 'directory/inner': 'x' })
  const info = layerOf(tar)
  const kinds = (root: string) => readdirSync(join(root, 'snapshots', hexOf(info.name))).sort()

  async function packed(root = freshDirectory(), layer = info) {
    const snapshots = openSnapshotter(root)
    await using staged = await snapshots.stagePacked()
    writeFileSync(staged.tar, tar)
    await snapshots.commit(staged, layer)
    return { root, snapshots, path: join(root, 'snapshots', hexOf(layer.name)) }
  }

  it('stays a tar until somebody asks for its directory', async () => {
    const { root, snapshots, path } = await packed()
    expect(await snapshots.find(info.name)).toEqual(info)
    expect(await snapshots.kept(info.name)).toEqual([join(path, 'layer.tar')])
    expect(await snapshots.packedTar(info.name)).toBe(join(path, 'layer.tar'))
    expect(kinds(root)).toEqual(['layer.tar', 'meta.json'])
    expect(await snapshots.layers(info.name)).toEqual([join(path, 'fs')])
    expect(readFileSync(join(path, 'fs/directory/inner'), 'utf8')).toBe('x')
    expect(await snapshots.kept(info.name)).toEqual([join(path, 'fs')])
    expect(await snapshots.packedTar(info.name)).toBe(join(path, 'layer.tar'))
    expect(readdirSync(join(root, 'active'))).toEqual([])
  })

  it('is unpacked below what is built on it, and has the root of what it is built on', async () => {
    const root = freshDirectory()
    const base = openSnapshotter(root)
    await using bottom = await base.prepare(undefined)
    await chmod(bottom.upper, 0o1711)
    await base.commit(bottom, layerNamed('bottom'))
    const layer = layerOf(tar, layerNamed('bottom').name)
    const { snapshots, path } = await packed(root, layer)
    await using active = await snapshots.prepare(layer.name)
    expect(active.lower[0]).toBe(join(path, 'fs'))
    expect(statSync(active.upper).mode & 0o7777).toBe(0o1711)
    expect(readFileSync(join(path, 'fs/file'), 'utf8')).toBe('content')
  })

  it('is unpacked once, whoever asks at the same time', async () => {
    const { root } = await packed()
    const asked = [1, 2, 3].map(() => openSnapshotter(root).view(info.name))
    expect(new Set((await Promise.all(asked)).map(view => JSON.stringify(view))).size).toBe(1)
    expect(kinds(root)).toEqual(['fs', 'layer.tar', 'meta.json'])
    expect(readdirSync(join(root, 'active'))).toEqual([])
  })

  it('takes more of the disk once it is unpacked', async () => {
    const { snapshots } = await packed()
    const before = await snapshots.bytesOf(info.name)
    await snapshots.layers(info.name)
    expect(await snapshots.bytesOf(info.name)).toBeGreaterThan(before)
  })

  it('with other bytes than its name says is not unpacked', async () => {
    const { root, snapshots, path } = await packed()
    const bytes = readFileSync(join(path, 'layer.tar'))
    bytes.write('CONTENT', bytes.indexOf('content'))
    writeFileSync(join(path, 'layer.tar'), bytes)
    const expected = { code: 'digest-mismatch', hint: expect.stringContaining('fsck --repair') }
    await expect(snapshots.layers(info.name)).rejects.toMatchObject(expected)
    expect(kinds(root)).toEqual(['layer.tar', 'meta.json'])
    expect(readdirSync(join(root, 'active'))).toEqual([])
  })

  it('that had reached the disk stays after a boot; what was unpacked of it is made again', async () => {
    const { root, snapshots, path } = await packed()
    await snapshots.layers(info.name)
    writeFileSync(join(path, 'synced'), '')
    writeFileSync(join(path, 'fs/file'), '')
    reboot(root)
    const next = openSnapshotter(root)
    await next.sweep()
    expect(kinds(root)).toEqual(['layer.tar', 'meta.json', 'synced'])
    const [layer = ''] = await next.layers(info.name)
    expect(readFileSync(join(layer, 'file'), 'utf8')).toBe('content')
  })

  it('that is not committed leaves nothing', async () => {
    const root = freshDirectory()
    {
      await using staged = await openSnapshotter(root).stagePacked()
      writeFileSync(staged.tar, tar)
    }
    expect(readdirSync(join(root, 'active'))).toEqual([])
  })

  it(`after ${unpackKillings} processes killed at any moment is a whole tar, and unpacked whole or not at all`, async () => {
    const root = freshDirectory()
    await openSnapshotter(root).sweep()
    for (let round = 0; round < unpackKillings; round++) {
      const child = startProcess('unpack-packed', [root, '5000', String(round)])
      for (let lines = 0; lines < 1 + (round % 4); lines++) await child.line()
      await pause(round * 3)
      child.kill()
      expect(await child.ended).toBeNull()
    }
    const snapshots = openSnapshotter(root)
    await snapshots.sweep()
    expect(readdirSync(join(root, 'active'))).toEqual([])
    let unpacked = 0
    for await (const { name, diffId } of snapshots.list()) {
      const directory = join(root, 'snapshots', hexOf(name))
      expect(digestOf(readFileSync(join(directory, 'layer.tar')))).toBe(diffId)
      if (existsSync(join(directory, 'fs'))) unpacked++
      const [layer = ''] = await snapshots.layers(name)
      expect(readdirSync(layer).sort()).toEqual(['first', 'second'])
      expect(readFileSync(join(layer, 'second'), 'utf8')).toBe('x'.repeat(10_000))
    }
    expect(unpacked).toBeGreaterThan(0)
  }, 60_000)
})

describeWith(['root'], 'openSnapshotter, shared by processes', () => {
  it('two processes that commit the same snapshots both succeed', async () => {
    const root = freshDirectory()
    const children = [1, 2].map(() => startProcess('commit-snapshots', [root, '50']))
    for (const child of children) expect(await child.ended).toBe(0)
    expect(readdirSync(join(root, 'snapshots'))).toHaveLength(50)
    expect(readdirSync(join(root, 'active'))).toEqual([])
  })

  it(`(2)(3) after ${killings} processes killed at any moment every snapshot is whole, and nothing is left`, async () => {
    const root = freshDirectory()
    await openSnapshotter(root).sweep()
    for (let round = 0; round < killings; round++) {
      const child = startProcess('commit-snapshots', [root, '5000', String(round)])
      for (let lines = 0; lines < 1 + (round % 4); lines++) await child.line()
      await pause(round / 3)
      child.kill()
      expect(await child.ended).toBeNull()
    }
    const snapshots = openSnapshotter(root)
    await snapshots.sweep()
    expect(readdirSync(join(root, 'active'))).toEqual([])
    let count = 0
    for await (const { name } of snapshots.list()) {
      const [top = ''] = await snapshots.layers(name)
      expect(readdirSync(top).sort()).toEqual(['first', 'second'])
      expect(readFileSync(join(top, 'second'), 'utf8')).toBe('x'.repeat(10_000))
      count++
    }
    expect(count).toBe(readdirSync(join(root, 'snapshots')).length)
    expect(count).toBeGreaterThan(0)
  }, 60_000)
})
