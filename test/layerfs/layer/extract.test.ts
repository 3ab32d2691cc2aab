import { execFileSync } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ArchiveOptions, extractArchive } from '../../../src/layerfs/layer/extract.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import {
  dir,
  type EntryDraft,
  file,
  hardlink,
  listTree,
  symlink,
  tarOf,
  whiteout,
} from './layer-support.ts'

let base: string
const at = (...names: string[]): string => join(base, ...names)

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'extract-test-'))
  mkdirSync(at('context'))
  mkdirSync(at('root'))
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

async function extract(name: string, to: string, options: ArchiveOptions = {}): Promise<string> {
  using source = openRoot({ kind: 'directory', path: at('context'), readOnly: true })
  using target = openRoot({ kind: 'directory', path: at('root'), readOnly: false })
  return await extractArchive({ root: source, path: name }, { root: target, path: to }, options)
}

async function extractDrafts(drafts: readonly EntryDraft[], to = '/'): Promise<string[]> {
  writeFileSync(at('context/a.tar'), tarOf(drafts))
  expect(await extract('a.tar', to)).toBe('extracted')
  return tree()
}

function tree(): string[] {
  using root = openRoot({ kind: 'directory', path: at('root'), readOnly: true })
  return listTree(root)
}

const sample = [
  dir('d'),
  file('d/f', 'x', { uid: 12, gid: 34 }),
  { ...hardlink('d/h', 'd/f'), uid: 12, gid: 34 },
]

describe('extractArchive()', () => {
  test.each([
    ['tar', 'cat'],
    ['gzip', 'gzip -c'],
    ['bzip2', 'bzip2 -c'],
    ['xz', 'xz -c'],
    ['zstd', 'zstd -qc'],
  ])('C24 unpacks %s by its content, whatever its name', async (_, program) => {
    const packed = execFileSync('sh', ['-c', program], { input: tarOf(sample) })
    writeFileSync(at('context/archive.txt'), packed)
    expect(await extract('archive.txt', '/opt/x')).toBe('extracted')
    expect(tree()).toEqual([
      'opt dir',
      'opt/x dir',
      'opt/x/d dir',
      'opt/x/d/f "x"',
      'opt/x/d/h "x"',
    ])
    expect(statSync(at('root/opt/x')).mode & 0o7777).toBe(0o755)
    const stat = statSync(at('root/opt/x/d/f'))
    expect([stat.uid, stat.gid, stat.nlink]).toEqual([12, 34, 2])
  })

  test('C24 gives everything the owner asked for', async () => {
    writeFileSync(at('context/a.tar'), tarOf(sample))
    await extract('a.tar', '/n', { owner: { uid: 5, gid: 6 } })
    for (const path of ['n', 'n/d', 'n/d/f']) expect(statSync(at('root', path)).uid).toBe(5)
  })

  test.each([
    ['an empty file', Buffer.alloc(0)],
    ['text', Buffer.from('hello\n'.repeat(500))],
    ['packed text', execFileSync('gzip', ['-c'], { input: 'hello\n'.repeat(500) })],
    ['damaged gzip', Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(2000, 7)])],
    ['cut gzip', execFileSync('gzip', ['-c'], { input: tarOf(sample) }).subarray(0, 20)],
    [
      'damaged xz',
      Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), Buffer.alloc(2000, 7)]),
    ],
  ])('C24 leaves %s alone', async (_, bytes) => {
    writeFileSync(at('context/f'), bytes)
    expect(await extract('f', '/x')).toBe('not-an-archive')
    expect(tree()).toEqual([])
  })

  test('C24 refuses an archive that is cut behind its first entry', async () => {
    writeFileSync(
      at('context/a.tar'),
      tarOf([file('a'), file('b', 'x'.repeat(5000))]).subarray(0, 3000),
    )
    await expect(extract('a.tar', '/')).rejects.toMatchObject({ code: 'invalid' })
  })

  test('C24 stays inside the root, and in it follows links that were there', async () => {
    mkdirSync(at('root/usr/lib'), { recursive: true })
    execFileSync('ln', ['-s', 'usr/lib', at('root/lib')])
    writeFileSync(at('secret'), 'secret')
    const drafts = [
      file('lib/x', 'x'),
      symlink('out', '../..'),
      file('out/secret', 'pwned'),
      symlink('abs', base),
      file('abs/secret', 'pwned'),
      file('../../up', 'up'),
    ]
    await extractDrafts(drafts)
    expect(lstatSync(at('root/lib')).isSymbolicLink()).toBe(true)
    expect(readFileSync(at('root/usr/lib/x'), 'utf8')).toBe('x')
    expect(readFileSync(at('root/up'), 'utf8')).toBe('up')
    expect(readFileSync(at('secret'), 'utf8')).toBe('secret')
  })

  test('C24 merges into what is there, and its whiteouts remove what was there', async () => {
    mkdirSync(at('root/d'))
    for (const name of ['d/old', 'd/gone', 'keep']) writeFileSync(at('root', name), name)
    expect(await extractDrafts([dir('d'), whiteout('d/.wh.gone'), file('d/new')])).toEqual([
      'd dir',
      'd/new "d/new"',
      'd/old "d/old"',
      'keep "keep"',
    ])
    expect(await extractDrafts([file('d/own'), whiteout('d/.wh..wh..opq')])).toEqual([
      'd dir',
      'd/own "d/own"',
      'keep "keep"',
    ])
  })

  test('takes the attributes of "./" for the destination', async () => {
    await extractDrafts([dir('.', { mode: 0o711, uid: 3, seconds: 1000 }), file('f')], '/dest')
    const stat = statSync(at('root/dest'))
    expect([stat.mode & 0o7777, stat.uid, stat.mtimeMs]).toEqual([0o711, 3, 1_000_000])
  })

  test('stops when the signal aborts', async () => {
    writeFileSync(at('context/a.tar'), tarOf(sample))
    const reason = new Error('enough')
    await expect(extract('a.tar', '/', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})
