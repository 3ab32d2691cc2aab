/** Layers made to break out (fixtures/hostile), to exhaust, and trees that change while they are read. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { aim, attacks } from '../../../fixtures/hostile/attacks.ts'
import { copyTree } from '../../../src/layerfs/layer/copy.ts'
import { diffLayer } from '../../../src/layerfs/layer/diff.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import { type EntryDraft, file, layerBench, listTree, tarOf } from './layer-support.ts'

describe('applyLayer() touches nothing outside for', () => {
  test.each(attacks)('$title', async ({ stack }) => {
    using bench = layerBench()
    const victim = join(bench.dir, 'victim')
    mkdirSync(victim, { mode: 0o750 })
    writeFileSync(join(victim, 'f'), 'untouched', { mode: 0o640 })
    const before = statSync(join(victim, 'f'))
    for (const layer of stack) {
      const aimed = layer.map(draft => aim(draft, victim))
      // Refused or contained: both are safe.
      await bench.apply(aimed).catch((error: unknown) => expect(error).toHaveProperty('code'))
    }
    expect(readFileSync(join(victim, 'f'), 'utf8')).toBe('untouched')
    expect(readdirSync(victim)).toEqual(['f'])
    const after = statSync(join(victim, 'f'))
    expect([after.mode, after.uid, after.nlink, after.mtimeMs]).toEqual([
      before.mode,
      before.uid,
      1,
      before.mtimeMs,
    ])
    expect(statSync(victim).mode & 0o777).toBe(0o750)
    const allowed = /^(victim|blob|layer\d+)$/
    expect(readdirSync(bench.dir).filter(name => !allowed.test(name))).toEqual([])
  })
})

describe('reading a tree that a process changes meanwhile', () => {
  test('never reads through a link that takes a directory’s place (CVE-2018-15664, CVE-2023-0778)', async () => {
    using bench = layerBench()
    const [tree, victim] = ['tree', 'victim'].map(name => join(bench.dir, name)) as [string, string]
    for (const path of [join(tree, 'd/deep'), join(victim, 'deep')])
      mkdirSync(path, { recursive: true })
    for (const path of ['d/f', 'd/deep/f']) writeFileSync(join(tree, path), 'inside')
    for (const path of ['f', 'deep/f']) writeFileSync(join(victim, path), 'SECRET')
    symlinkSync(victim, join(tree, 'l'))
    const swapping = spawn('python3', ['-c', swapForever], { cwd: tree })
    try {
      for (let round = 0; round < 60; round++) {
        const copy = join(bench.dir, `copy${round}`)
        mkdirSync(copy)
        // What is something else than a moment ago may be refused; it is not followed.
        codeOf(() => expect(tarOfTree(tree).includes('SECRET')).toBe(false))
        codeOf(() => copyInto(copy, tree))
        const grep = spawnSync('grep', ['-r', 'SECRET', copy])
        expect(grep.status).toBe(1)
        await setImmediate()
      }
    } finally {
      swapping.kill('SIGKILL')
    }
  }, 60_000)
})

function tarOfTree(tree: string): Buffer {
  return Buffer.concat([...diffLayer({ upper: tree, lower: [] })])
}

function copyInto(copy: string, tree: string): void {
  using from = openRoot({ kind: 'directory', path: tree, readOnly: true })
  using to = openRoot({ kind: 'directory', path: copy, readOnly: false })
  copyTree({ root: from, path: '/' }, { root: to, path: '/' })
}

/** Of what `act` throws, which must have one: `undefined` when it throws nothing. */
function codeOf(act: () => unknown): unknown {
  try {
    act()
    return undefined
  } catch (error) {
    if (!(error instanceof Error && 'code' in error) || 'matcherResult' in error) throw error
    return error.code
  }
}

/** Exchanges a directory and a link, which no moment shows without either. */
const swapForever = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
while libc.renameat2(-100, b'd', -100, b'l', 2) == 0: pass
`

describe('applyLayer() stops early at', () => {
  test('a bomb: 64 MiB of zeros in 64 KiB of gzip (CVE-2017-14992)', async () => {
    using bench = layerBench()
    const zeros = Buffer.alloc(64 << 20)
    const tar = tarOf([file('bomb', zeros.toString('latin1'))])
    const run = bench.apply(tar, { blob: gzipSync(tar), budgets: { content: 1 << 20 } })
    await expect(run).rejects.toMatchObject({ code: 'too-large' })
    expect(readdirSync(join(bench.dir, 'layer1'))).toEqual([])
  })

  test('a sparse file of an exabyte', async () => {
    using bench = layerBench()
    const script = 'cd "$1" && truncate -s 4T sparse && tar -S --format=pax -cf - sparse'
    const tar = execFileSync('sh', ['-ec', script, 'sh', bench.dir])
    const huge = Buffer.from(
      tar.toString('latin1').replace(/realsize=4398046511104/, 'realsize=9000000000000'),
      'latin1',
    )
    await expect(bench.apply(huge, { budgets: { content: 1 << 40 } })).rejects.toMatchObject({
      code: 'too-large',
    })
  })

  test('too many entries, and too many levels', async () => {
    using bench = layerBench()
    const many = [file('a'), file('b'), file('c')]
    await expect(bench.apply(many, { budgets: { entries: 2 } })).rejects.toMatchObject({
      code: 'too-large',
    })
    const deep = [file(`${'d/'.repeat(5000)}f`)]
    await expect(bench.apply(deep)).rejects.toMatchObject({ code: 'too-large' })
  })
})

test('applyLayer() and removal manage a tree as deep as allowed', async () => {
  using bench = layerBench()
  await bench.apply([file(`${'d/'.repeat(1000)}f`, 'deep')])
  using view = bench.view()
  expect(listTree(view).at(-1)).toContain('f "deep"')
})

test('A24 names a device that no kernel has', async () => {
  for (const device of [
    [4096, 0],
    [1, 1 << 20],
  ] as const) {
    using bench = layerBench()
    const node: EntryDraft = { path: 'd/x', type: 'block-device', device }
    await expect(bench.apply([node])).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining(`"/d/x": Linux has no device ${device.join(':')}`),
    })
  }
})
