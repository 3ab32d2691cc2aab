/** Default ACLs of directories: rows A16 and A20, and what GNU tar makes of the same archives. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { xattrsAt } from '../../../src/layerfs/layer/attributes.ts'
import type { Root } from '../../../src/layerfs/layer/rootfs.ts'
import { dir, file, hardlink, layerBench, tarOf } from './layer-support.ts'

/** As the kernel stores one: version 2, then tag, permissions and id of each. */
function acl(...entries: readonly (readonly [number, number, number?])[]): Buffer {
  const words = entries.map(([tag, permissions, id = 0xffff_ffff]) => {
    const word = Buffer.alloc(8)
    word.writeUInt16LE(tag, 0)
    word.writeUInt16LE(permissions, 2)
    word.writeUInt32LE(id, 4)
    return word
  })
  return Buffer.concat([Buffer.from([2, 0, 0, 0]), ...words])
}

const name = 'system.posix_acl_default'
const value = acl([1, 7], [2, 7, 1000], [4, 5], [16, 7], [32, 0])
const directory = dir('d', { xattrs: { [name]: value } })

const paths = ['d/f', 'd/large', 'd/link', 'd/s', 'd/s/g', 'd/implied', 'd/implied/h']
const content = [
  file('d/f', 'f'),
  file('d/large', Buffer.alloc(2e6)),
  dir('d/s'),
  file('d/s/g', 'g'),
  file('d/implied/h', 'h'),
  hardlink('d/link', 'd/f'),
]

function namesOf(root: Root, path: string): string[] {
  using at = root.openParent(path, 'keep')
  return xattrsAt(at.fd, at.name).map(xattr => `${xattr.name}`)
}

test.each([
  ['an entry of the same layer', [[directory, ...content]]],
  ['an entry that comes after them', [[...content, directory]]],
  // The link makes the layer be laid through an overlay.
  [
    'a layer below',
    [
      [directory, file('d/f', 'f')],
      [...content.slice(1), hardlink('d/other', 'd/f')],
    ],
  ],
])('files get no ACL of their own from %s', async (_, stack) => {
  using bench = layerBench()
  for (const layer of stack) await bench.apply(layer)
  using root = bench.view()
  using at = root.openParent('d', 'keep')
  expect(xattrsAt(at.fd, at.name)).toEqual([{ name: Buffer.from(name), value }])
  for (const path of paths) expect(namesOf(root, path), path).toEqual([])
  expect(root.stat('d/f', 'keep').mode & 0o7777).toBe(0o644)
})

test('the tree is what GNU tar makes of the same archive', async () => {
  using bench = layerBench()
  const layer = [directory, ...content]
  await bench.apply(layer)
  using root = bench.view()
  const target = join(bench.dir, 'gnu')
  mkdirSync(target)
  const options = ['--xattrs', '--xattrs-include=*', '-C', target]
  execFileSync('tar', [...options, '-xf', '-'], { input: tarOf(layer) })
  const fd = openSync(target, 'r')
  try {
    for (const path of ['d', ...paths]) {
      const theirs = xattrsAt(fd, path).map(xattr => `${xattr.name}`)
      expect(namesOf(root, path), path).toEqual(theirs)
    }
  } finally {
    closeSync(fd)
  }
})

test('a list that is none is the fault of the archive, which names its entry', async () => {
  using bench = layerBench()
  const broken = dir('d', { xattrs: { [name]: acl([3, 7]) } })
  const other = { ...broken, path: 'e/' }
  await expect(bench.apply([broken, other])).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining('"/d"'),
  })
})
