/** Applying and diffing inside a user namespace, as rootless runs do. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Compiled, compileSources } from '../../support/compiled.ts'
import { dir, type EntryDraft, file, hardlink, tarOf, whiteout } from './layer-support.ts'

let compiled: Compiled
let base: string

beforeAll(() => {
  compiled = compileSources()
  base = mkdtempSync(join(tmpdir(), 'rootless-test-'))
}, 60_000)
afterAll(() => {
  compiled[Symbol.dispose]()
  rmSync(base, { recursive: true, force: true })
})

/** Applies the layers in a namespace of its own and says what the merged tree shows. */
function applied(layers: readonly (readonly EntryDraft[])[]): {
  status: number | null
  text: string
} {
  const dir = mkdtempSync(join(base, 'run-'))
  for (const [index, layer] of layers.entries())
    writeFileSync(join(dir, `${index}.tar`), tarOf(layer))
  const program = `
    import { createHash } from 'node:crypto'
    import { closeSync, mkdirSync, readFileSync } from 'node:fs'
    const at = name => '${compiled.dist}/layerfs/' + name
    const { applyLayer } = await import(at('layer/apply.js'))
    const { diffLayer } = await import(at('layer/diff.js'))
    const { openRoot } = await import(at('layer/rootfs.js'))
    const { syscalls } = await import(at('native/syscalls.js'))
    const lower = []
    for (let index = 0; index < ${layers.length}; index++) {
      const blob = '${dir}/' + index + '.tar'
      const bytes = readFileSync(blob)
      const digest = 'sha256:' + createHash('sha256').update(bytes).digest('hex')
      const target = '${dir}/layer' + index
      mkdirSync(target)
      await applyLayer({ blob, target, lower: [...lower], expected: { digest, diffId: digest, size: bytes.length } })
      lower.unshift(target)
    }
    const show = (root, path) => {
      const fd = root.open(path, 0o200000)
      for (const { name, type } of syscalls().readdir(fd).sort((a, b) => Buffer.compare(a.name, b.name))) {
        console.log(path + name)
        if (type === 4) show(root, path + name + '/')
      }
      closeSync(fd)
    }
    const root = openRoot({ kind: 'overlay', lower })
    show(root, '/')
    console.log(Buffer.concat([...diffLayer({ upper: lower[0], lower: lower.slice(1) })]).length)`
  const file = join(dir, 'program.mjs')
  writeFileSync(file, program)
  const { status, stdout, stderr } = spawnSync('unshare', ['-Urm', process.execPath, file], {
    encoding: 'utf8',
  })
  return { status, text: `${stdout}${stderr}` }
}

const capability = Buffer.from(`0100000200200000${'00'.repeat(12)}`, 'hex')

describe('in a user namespace with one id, applyLayer()', () => {
  test('A25 leaves out devices, takes owners and attributes as they can be', () => {
    const layers = [
      [
        dir('d', { uid: 3, xattrs: { 'trusted.x': '1' } }),
        file('d/f', 'x', { gid: 42, xattrs: { 'security.capability': capability } }),
        { path: 'null', type: 'character-device' as const, device: [1, 3] as const },
        { path: 'fifo', type: 'fifo' as const },
      ],
    ]
    const { status, text } = applied(layers)
    expect(text.split('\n').slice(0, 3)).toEqual(['/d', '/d/f', '/fifo'])
    expect(status).toBe(0)
  })

  test('A3 A5 A6 A14 hides, makes again and links to lower files', () => {
    const lower = [dir('d'), file('d/a'), dir('e'), file('e/b'), file('f'), file('g')]
    const opaque = [
      whiteout('.wh.d'),
      dir('d'),
      file('d/n'),
      whiteout('e/.wh..wh..opq'),
      whiteout('.wh.f'),
    ]
    const replayed = [hardlink('h', 'g'), whiteout('.wh.e')]
    const { text } = applied([lower, opaque, replayed])
    expect(text.split('\n').slice(0, -2)).toEqual(['/d', '/d/n', '/g', '/h'])
  })
})
