import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { openContainers } from '../../../src/layerfs/snapshot/containers.ts'
import { openSnapshotter } from '../../../src/layerfs/snapshot/overlay.ts'
import { openTrash } from '../../../src/layerfs/snapshot/trash.ts'
import { describeWith } from '../../support/requires.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { commitLayer, layerNamed } from './snapshotter.contract.ts'

afterAll(removeDirectories)

function place() {
  const root = freshDirectory()
  const trash = openTrash(join(root, 'trash'))
  const snapshots = openSnapshotter(root, { trash })
  return { root, snapshots, containers: openContainers({ root, snapshots, trash }) }
}

describeWith(['root'], 'openContainers', () => {
  it('create() gives a running container over its image, with its record', async () => {
    const { snapshots, containers } = place()
    const base = await commitLayer(snapshots, 'base')
    using held = await containers.create(base.name, { name: 'web' })
    expect(held.id).toMatch(/^[0-9a-f]{64}$/)
    expect(held.mount).toEqual({
      kind: 'overlay',
      lower: await snapshots.layers(base.name),
      upper: held.upper,
      work: join(held.path, 'work'),
    })
    expect(await containers.list()).toMatchObject([
      { id: held.id, record: { name: 'web' }, isRunning: true },
    ])
  })

  it('(2) it has stopped when its lock is released, and keeps what it wrote', async () => {
    const { containers } = place()
    const held = await containers.create(undefined, {})
    writeFileSync(join(held.upper, 'data'), 'kept')
    await held.setRecord({ exitCode: 3 })
    held[Symbol.dispose]()
    expect(await containers.get(held.id)).toMatchObject({
      record: { exitCode: 3 },
      isRunning: false,
    })
    using again = await containers.hold(held.id)
    expect(existsSync(join(again.upper, 'data'))).toBe(true)
  })

  it('(2) a child that was handed the lock keeps it running after us', async () => {
    const { containers } = place()
    const held = await containers.create(undefined, {})
    const { spawn } = await import('node:child_process')
    const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', held.lockFd] })
    held[Symbol.dispose]()
    expect((await containers.get(held.id)).isRunning).toBe(true)
    const ended = new Promise(resolve => child.on('exit', resolve))
    child.kill('SIGKILL')
    await ended
    expect((await containers.get(held.id)).isRunning).toBe(false)
  })

  it('(3) hold() and remove() refuse a running container', async () => {
    const { containers } = place()
    using held = await containers.create(undefined, {})
    await expect(containers.hold(held.id)).rejects.toMatchObject({ code: 'conflict' })
    await expect(containers.remove(held.id)).rejects.toMatchObject({ code: 'conflict' })
  })

  it('(3) the snapshot below a container, running or not, is not removed', async () => {
    const { snapshots, containers } = place()
    const { name } = await commitLayer(snapshots, 'base')
    const held = await containers.create(name, {})
    held[Symbol.dispose]()
    await expect(snapshots.remove(name)).rejects.toMatchObject({ code: 'conflict' })
    await containers.remove(held.id)
    await snapshots.remove(name)
    expect(await containers.list()).toEqual([])
  })

  it('(1) create() on an unknown snapshot makes nothing', async () => {
    const { root, containers } = place()
    const unknown = layerNamed('unknown').name
    await expect(containers.create(unknown, {})).rejects.toMatchObject({ code: 'not-found' })
    expect(readdirSync(join(root, 'containers'))).toEqual([])
  })

  it.each(['', '..', 'web', 'f'.repeat(64)])('get("%s") throws not-found', async id => {
    const { containers } = place()
    await expect(containers.get(id)).rejects.toMatchObject({ code: 'not-found' })
    await expect(containers.hold(id)).rejects.toMatchObject({ code: 'not-found' })
    await expect(containers.remove(id)).rejects.toMatchObject({ code: 'not-found' })
  })

  it('list() while others start and stop never takes a stopped container for running for long', async () => {
    const { containers } = place()
    const held = await containers.create(undefined, {})
    held[Symbol.dispose]()
    const looks = Promise.all(Array.from({ length: 50 }, () => containers.list()))
    using again = await containers.hold(held.id)
    expect(again.id).toBe(held.id)
    await looks
  })

  it('its mount is one that overlayfs takes', async () => {
    const { snapshots, containers, root } = place()
    const { name } = await commitLayer(snapshots, 'base')
    using held = await containers.create(name, {})
    const at = join(root, 'mnt')
    execFileSync('mkdir', [at])
    const { mount } = held
    if (mount.kind !== 'overlay') throw new Error('expected an overlay')
    const options = `lowerdir=${mount.lower.join(':')},upperdir=${mount.upper},workdir=${mount.work}`
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, at])
    try {
      expect(readdirSync(at)).toEqual(['base'])
    } finally {
      execFileSync('umount', [at])
    }
  })
})
