import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, renameSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { DiskMeter } from '../../../src/layerfs/content/disk-use.ts'
import { openTrash } from '../../../src/layerfs/snapshot/trash.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)

function tree(): string {
  const root = freshDirectory()
  mkdirSync(join(root, 'a/b/c'), { recursive: true })
  writeFileSync(join(root, 'a/large'), Buffer.alloc(1_000_000, 1))
  writeFileSync(join(root, 'a/b/small'), 'x')
  writeFileSync(join(root, 'a/b/hole'), '')
  truncateSync(join(root, 'a/b/hole'), 100_000_000)
  linkSync(join(root, 'a/large'), join(root, 'a/b/c/again'))
  symlinkSync('/usr', join(root, 'a/link'))
  return root
}

const du = (path: string) =>
  Number(/^\d+/.exec(execFileSync('du', ['-s', '-B1', path]).toString())?.[0])

describe('DiskMeter', () => {
  it('counts what du counts: blocks, holes not, names of one file once', () => {
    const root = tree()
    const { bytes, files } = new DiskMeter().measure(root)
    expect(bytes).toBe(du(root))
    expect(files).toBe(8)
  })

  it('counts a file in two trees with the first one', () => {
    const root = tree()
    const meter = new DiskMeter()
    const first = meter.measure(join(root, 'a/b/c'))
    expect(first.bytes).toBeGreaterThan(1_000_000)
    expect(meter.measure(join(root, 'a/large'))).toEqual({ bytes: 0, files: 0 })
  })

  it('finds nothing in what is not there', () => {
    expect(new DiskMeter().measure('/no/such/path')).toEqual({ bytes: 0, files: 0 })
  })
})

describe('empty() of the trash', () => {
  it('says how many bytes of the disk it freed', async () => {
    const root = tree()
    const trash = openTrash(join(root, 'trash'))
    const size = du(join(root, 'a'))
    await trash.discard(join(root, 'a'))
    expect(await trash.empty()).toBe(size)
    expect(await trash.empty()).toBe(0)
  })

  it('deletes trees whose paths are longer than the kernel takes', async () => {
    const root = freshDirectory()
    const name = 'd'.repeat(200)
    // From the inside out: no path is ever longer than one step.
    mkdirSync(join(root, name))
    for (let i = 0; i < 30; i++) {
      mkdirSync(join(root, 'outer'))
      renameSync(join(root, name), join(root, 'outer', name))
      renameSync(join(root, 'outer'), join(root, name))
    }
    const trash = openTrash(join(root, 'trash'))
    await trash.discard(join(root, name))
    await trash.empty()
    expect(execFileSync('find', [join(root, 'trash'), '-mindepth', '1']).toString()).toBe('')
  })

  it('begins nothing more once its signal aborted', async () => {
    const root = tree()
    const trash = openTrash(join(root, 'trash'))
    await trash.discard(join(root, 'a'))
    expect(await trash.empty({ signal: AbortSignal.abort() })).toBe(0)
    expect(await trash.empty()).toBeGreaterThan(0)
  })
})
