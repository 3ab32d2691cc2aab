import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { openSnapshotter } from '../../../src/layerfs/snapshot/overlay.ts'
import { hexOf } from '../../../src/oci/digest.ts'
import { describeWith } from '../../support/requires.ts'
import { removeCompiled, startProcess } from '../content/processes.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { commitLayer, layerNamed, snapshotterContract } from './snapshotter.contract.ts'

afterAll(removeDirectories)
afterAll(removeCompiled)

const killings = 30

/** Makes the next {@link openSnapshotter} believe that the machine was started anew. */
function reboot(root: string): void {
  writeFileSync(join(root, 'boot'), 'another boot')
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
