/** Files that one call makes of a piece of a tar are what they are when each is looked at alone. */
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Extraction } from '../../../src/layerfs/layer/extraction.ts'
import { LayerFormat } from '../../../src/layerfs/layer/layer-format.ts'
import { overlayFormat } from '../../../src/layerfs/layer/overlay-format.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import { syscalls } from '../../../src/layerfs/native/syscalls.ts'
import { defaultBudgets } from '../../../src/layerfs/tar/entry.ts'
import { TarReader } from '../../../src/layerfs/tar/reader.ts'
import { body, end, octal, type RawHeader, rawHeader } from '../tar/tar-support.ts'
import {
  dir,
  file,
  fully,
  hardlink,
  listTree,
  shortly,
  symlink,
  tarOf,
  whiteout,
} from './layer-support.ts'

let place: string
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'place-files-'))
})
afterEach(() => rmSync(place, { recursive: true }))

function withDirectory<T>(use: (fd: number) => T): T {
  const fd = openSync(place, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

interface Outcome {
  readonly error: string | undefined
  readonly entries: number
  readonly tree: readonly string[]
}

/** A whiteout is made now, and has no other time. */
function described(dirFd: number, name: string): string {
  const short = shortly(dirFd, name)
  return short === 'char' ? short : fully(dirFd, name)
}

/** Of a tar that arrives in pieces of `size`. */
function extract(tar: Buffer, size: number, budgets = defaultBudgets): Outcome {
  const target = mkdtempSync(join(place, 'tree-'))
  const rootFd = openSync(target, constants.O_RDONLY | constants.O_DIRECTORY)
  using extraction = new Extraction({
    rootFd,
    format: new LayerFormat(rootFd, overlayFormat()),
    budgets,
  })
  const reader = new TarReader(extraction, budgets)
  let error: string | undefined
  try {
    for (let at = 0; at < tar.length; at += size) reader.push(tar.subarray(at, at + size))
    reader.end()
    extraction.finish()
  } catch (failure) {
    error = (failure as Error).message
  }
  closeSync(rootFd)
  try {
    using root = openRoot({ kind: 'directory', path: target, readOnly: true })
    const tree = error === undefined ? listTree(root, described) : []
    return { error, entries: extraction.entries, tree }
  } finally {
    rmSync(target, { recursive: true })
  }
}

/** A header, and a file behind it, never come whole in such pieces: each is looked at alone. */
function expectSameAsAlone(tar: Buffer): Outcome {
  const alone = extract(tar, 500)
  const together = extract(tar, tar.length)
  expect(together).toEqual(alone)
  return together
}

const plain = tarOf([
  file('a', 'of the root'),
  file('b', ''),
  dir('d'),
  ...Array.from({ length: 8 }, (_, i) =>
    file(`d/${i}`, 'x'.repeat(i * 300), { mode: 0o600 + i, uid: i, gid: 70 + i, seconds: i * 1e8 }),
  ),
  file('d/setuid', 'ours', { mode: 0o4755, uid: 5, gid: 6 }),
  symlink('d/link', '0'),
  hardlink('d/hard', 'd/1'),
  file('d/2', 'again'),
  whiteout('d/.wh.gone'),
  whiteout('d/.wh.3'),
  file('d/late', 'late'),
  file(`d/${'long'.repeat(40)}`, 'needs PAX'),
  file('d/ns', 'in between', { seconds: 1, nanoseconds: 5 }),
  file('d/caps', 'x', { xattrs: { 'user.a': 'b' } }),
  file('e/implied', 'one'),
  file('e/other', 'two'),
  file(`${'deep/'.repeat(30)}f`, 'by prefix'),
  file(`${'deep/'.repeat(30)}g`, 'by prefix'),
])

describe('files of a tar that come together', () => {
  test('are those that come alone', () => {
    const { error, entries, tree } = expectSameAsAlone(plain)
    expect(error).toBeUndefined()
    expect(entries).toBe(25)
    expect(tree.length).toBeGreaterThan(25)
  })

  const sibling = Buffer.concat([rawHeader({ name: 'd/first', size: octal(5) }), body('first')])
  const odd: readonly [string, RawHeader][] = [
    ['a dot', { name: 'd/.' }],
    ['two dots', { name: 'd/..' }],
    ['two slashes', { name: 'd//f' }],
    ['a slash at its end', { name: 'd/f/' }],
    ['a directory on the way', { name: 'd/e/f' }],
    ['the directory itself', { name: 'd' }],
    ['no name', { name: '' }],
    ['no name but a prefix', { name: '', prefix: 'd' }],
    ['a prefix', { name: 'f', prefix: 'd' }],
    ['a prefix under GNU magic', { name: 'f', prefix: 'd', magic: 'ustar  \0' }],
    ['GNU magic', { name: 'd/f', magic: 'ustar  \0' }],
    ['no magic', { name: 'd/f', magic: '' }],
    ['a name of star', { name: 'f', prefix: 'd', more: block => block.write('tar\0', 508) }],
    ['a whiteout', { name: 'd/.wh.first' }],
    ['an opaque whiteout', { name: 'd/.wh..wh..opq' }],
    ['what aufs left', { name: 'd/.wh..wh.aufs' }],
    ['a name that fills its field', { name: `d/${'n'.repeat(98)}` }],
    ['a name that no file system has', { name: `d/${'n'.repeat(98)}`, prefix: 'd/'.repeat(70) }],
    ['bytes that are no text', { name: Buffer.from([0x64, 0x2f, 0xff, 0xfe]) }],
    ['the type of V7', { name: 'd/f', type: '\0' }],
    ['a contiguous file', { name: 'd/f', type: '7' }],
    ['an unknown type', { name: 'd/f', type: '?' }],
    ['a mode with more bits', { name: 'd/f', mode: '0107755\0' }],
    ['no mode', { name: 'd/f', mode: '\0' }],
    ['digits that are none', { name: 'd/f', uid: '0000008\0' }],
    ['rubbish behind a number', { name: 'd/f', gid: '0012\0abc' }],
    ['blanks around a number', { name: 'd/f', gid: '  0012 \0' }],
    ['an owner in base 256', { name: 'd/f', uid: Buffer.from([0x80, 0, 0, 0, 0, 1, 2, 3]) }],
    ['a time before 1970', { name: 'd/f', mtime: Buffer.alloc(12, 0xff) }],
    ['a negative size', { name: 'd/f', size: Buffer.alloc(12, 0xff) }],
    ['a size beyond the end', { name: 'd/f', size: octal(100_000) }],
    ['the largest size', { name: 'd/f', size: '777777777777' }],
    ['a device that is no number', { name: 'd/f', devMajor: 'rubbish' }],
    ['a name that is taken', { name: 'd/first' }],
  ]
  test.each(odd)('are the same beside one that has %s', (_, header) => {
    const tar = [sibling, rawHeader(header), ...[sibling, rawHeader({ name: 'd/last' }), end]]
    expectSameAsAlone(Buffer.concat(tar))
  })

  test('are the same after a file whose name ends as a directory does', () => {
    const headers = [{ name: 'd/f/.' }, { name: 'd/f/x' }, { name: 'g/../h' }, { name: 'g/../i' }]
    expectSameAsAlone(Buffer.concat([...headers.map(rawHeader), end]))
  })

  test('are the same where bytes of the headers are others', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const tar = Buffer.from(plain)
      const header = ((seed * 7919) % Math.floor(tar.length / 512)) * 512
      const at = header + ((seed * 104_729) % (seed % 4 === 0 ? 512 : 265))
      tar[at] = (tar[at] ?? 0) ^ (1 << (seed % 8))
      if (seed % 3 > 0) correctSum(tar.subarray(header, header + 512))
      expectSameAsAlone(tar)
    }
  }, 60_000)

  test('are no more than the budgets allow', () => {
    for (const budgets of [
      { ...defaultBudgets, entries: 5 },
      { ...defaultBudgets, content: 3000 },
    ]) {
      const alone = extract(plain, 500, budgets)
      expect(alone.error).toMatch(/more than 5 entries|exceed 3000 bytes/)
      expect(extract(plain, plain.length, budgets)).toEqual(alone)
    }
  })
})

function correctSum(block: Buffer): void {
  block.fill(' ', 148, 156)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
}

describe('placeFiles', () => {
  const counts = new Float64Array(2)
  const files = tarOf([file('d/a', 'aaa'), file('d/b', ''), file('d/c', 'c'.repeat(600))])

  test('makes all files of a directory in one call', () => {
    withDirectory(fd => {
      const size = syscalls().placeFiles(fd, Buffer.from('d/'), files, counts)
      expect([size, ...counts]).toEqual([files.length - 1024, 3, 603])
    })
  })

  test('leaves a file that is not whole, and one whose name is taken', () => {
    withDirectory(fd => {
      const directory = Buffer.from('d/')
      expect(syscalls().placeFiles(fd, directory, files.subarray(0, 1023), counts)).toBe(0)
      writeFileSync(join(place, 'b'), '')
      expect(syscalls().placeFiles(fd, directory, files, counts)).toBe(1024)
      expect([...counts]).toEqual([1, 3])
    })
  })

  test('leaves nothing of a file that it cannot finish', () => {
    using root = openRoot({ kind: 'directory', path: place, readOnly: false })
    withDirectory(fd => {
      // Nobody has this owner; a kernel without it refuses to give the file to it.
      const tar = Buffer.concat([rawHeader({ name: 'f', uid: '77777777' }), end])
      const size = syscalls().placeFiles(fd, Buffer.alloc(0), tar, counts)
      expect(listTree(root)).toHaveLength(size === 0 ? 0 : 1)
    })
  })

  test('refuses counts of another length', () => {
    withDirectory(fd => {
      const call = () => syscalls().placeFiles(fd, Buffer.alloc(0), files, new Float64Array(3))
      expect(call).toThrow(TypeError)
    })
  })
})
