/** What a step can make in a moment, and must not bring down who stores it. */
import { execFileSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DiskMeter } from '../../../src/layerfs/content/disk-use.ts'
import { copiedTree } from '../../../src/layerfs/layer/copied-tree.ts'
import { copyTree } from '../../../src/layerfs/layer/copy.ts'
import { diffLayer } from '../../../src/layerfs/layer/diff.ts'
import { layerChanges, treeChanges } from '../../../src/layerfs/layer/list-changes.ts'
import type { SafePath } from '../../../src/layerfs/layer/path-bytes.ts'
import { recordChanges } from '../../../src/layerfs/layer/record-changes.ts'
import { removePath } from '../../../src/layerfs/layer/remove-tree.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import { settleLayer } from '../../../src/layerfs/layer/settle-layer.ts'
import { layerBench } from './layer-support.ts'

/** Directories in each other below `directory`: by chdir, as no path can be that long. */
function makeNested(directory: string, levels: number): void {
  const program = `import os\nfor i in range(${levels}):\n  os.mkdir('d'); os.chdir('d')`
  mkdirSync(directory)
  execFileSync('python3', ['-c', program], { cwd: directory })
}

const nothingOpen = {
  whiteouts: [],
  implied: [],
  describedLate: [],
  strayMarkers: [],
  opaque: [],
  isRootImplied: false,
  needsMergedView: false,
  deadLinks: [],
}

function inDeepest(directory: string, levels: number, program: string): string {
  const walk = `import os\nfor i in range(${levels}): os.chdir('d')\n${program}`
  return execFileSync('python3', ['-c', walk], { cwd: directory, encoding: 'utf8' })
}

function count(items: Iterable<unknown>): number {
  let length = 0
  for (const _ of items) length += 1
  return length
}

describe('a tree of 2500 directories in each other', () => {
  test('is diffed, listed, compared, copied and removed', () => {
    using bench = layerBench()
    const [deep, copy] = [join(bench.dir, 'deep'), join(bench.dir, 'copy')]
    makeNested(deep, 2500)
    mkdirSync(copy)
    expect(count(diffLayer({ upper: deep, lower: [] }))).toBeGreaterThan(1)
    expect(count(layerChanges({ upper: deep, lower: [] }))).toBe(2500)
    using from = openRoot({ kind: 'directory', path: deep, readOnly: true })
    using to = openRoot({ kind: 'directory', path: copy, readOnly: false })
    expect(count(treeChanges(to, from))).toBe(2500)
    expect(copyTree({ root: from, path: '/' }, { root: to, path: '/' }).entries).toBe(2500)
    expect(count(treeChanges(to, from))).toBe(0)
  }, 60_000)
})

describe('a layer of 3900 directories in each other', () => {
  /** A calls' stack that a walk of as many calls would exhaust. */
  const levels = 3900

  test('is laid over others as copies, and what is written to the copy is recorded', () => {
    using bench = layerBench()
    const [top, base, upper] = ['top', 'base', 'upper'].map(name => join(bench.dir, name)) as [
      string,
      string,
      string,
    ]
    makeNested(base, levels)
    makeNested(top, levels)
    mkdirSync(upper)
    const tree = copiedTree({ kind: 'overlay', lower: [top, base], upper })
    inDeepest(tree, levels, 'open("new", "w").close()')
    recordChanges({ upper, lower: [top, base] })
    expect(inDeepest(upper, levels, 'print(os.listdir("."))')).toBe("['new']\n")
    removePath(bench.dir)
  }, 240_000)

  test('gets a whiteout in its deepest directory, which only layers below have', () => {
    using bench = layerBench()
    const [base, target] = [join(bench.dir, 'base'), join(bench.dir, 'target')]
    makeNested(base, levels)
    inDeepest(base, levels, 'open("gone", "w").close()')
    mkdirSync(target)
    const path = `${'d/'.repeat(levels)}gone` as SafePath
    const questions = { ...nothingOpen, strayMarkers: [{ kind: 'whiteout', path } as const] }
    expect(settleLayer({ target, lower: [base] }, questions)).toBe('settled')
    expect(inDeepest(target, levels, 'print(os.stat("gone").st_rdev)')).toBe('0\n')
    removePath(bench.dir)
  }, 240_000)

  test('is measured, however deep a process made it', () => {
    using bench = layerBench()
    const deep = join(bench.dir, 'deep')
    makeNested(deep, 6000)
    expect(new DiskMeter().measure(deep).files).toBe(6001)
    removePath(deep)
  }, 240_000)
})

describe('a tree of 4200 directories in each other', () => {
  test('is refused by everything that goes into it, and removed', () => {
    using bench = layerBench()
    const [deep, copy] = [join(bench.dir, 'deep'), join(bench.dir, 'copy')]
    makeNested(deep, 4200)
    mkdirSync(copy)
    using from = openRoot({ kind: 'directory', path: deep, readOnly: true })
    using to = openRoot({ kind: 'directory', path: copy, readOnly: false })
    const refusal = expect.objectContaining({
      code: 'too-large',
      message: expect.stringMatching(/^Cannot go into "\/d\/d\/.*more than 4096 directories/),
    })
    expect(() => count(diffLayer({ upper: deep, lower: [] }))).toThrow(refusal)
    expect(() => count(layerChanges({ upper: deep, lower: [] }))).toThrow(refusal)
    expect(() => count(treeChanges(to, from))).toThrow(refusal)
    expect(() => copyTree({ root: from, path: '/' }, { root: to, path: '/' })).toThrow(refusal)
  }, 60_000)
})

describe('a file of holes', () => {
  function makeSparse(directory: string, size: number): string {
    const path = join(directory, 'upper')
    mkdirSync(path)
    const fd = openSync(join(path, 'holes'), 'w')
    ftruncateSync(fd, size)
    if (size < 2 ** 40) writeSync(fd, 'data', 5_000_000)
    closeSync(fd)
    return path
  }

  test('is zeros in the tar, with its data in their place', () => {
    using bench = layerBench()
    const upper = makeSparse(bench.dir, 20_000_000)
    const tar = Buffer.concat([...diffLayer({ upper, lower: [] })])
    const content = tar.subarray(512, 512 + 20_000_000)
    expect(content.toString('latin1', 5_000_000, 5_000_004)).toBe('data')
    expect(content.fill(0, 5_000_000, 5_000_004).every(byte => byte === 0)).toBe(true)
    const names = execFileSync('tar', ['-tvf', '-'], { input: tar }).toString()
    expect(names).toMatch(/20000000 .* holes\n$/)
  })

  test('of two tebibytes is refused, by its name', () => {
    using bench = layerBench()
    const upper = makeSparse(bench.dir, 2 ** 41)
    expect(() => count(diffLayer({ upper, lower: [] }))).toThrow(
      expect.objectContaining({
        code: 'too-large',
        message: expect.stringContaining('"/holes" in a layer: it has 2199023255552 bytes'),
      }),
    )
  })
})
