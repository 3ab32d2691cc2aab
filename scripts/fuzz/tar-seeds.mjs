// Archives to begin with: every kind of entry, by our writer and by GNU tar, and hostile ones.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contentPadding, encodeEntry, endOfArchive } from '../../dist/layerfs/tar/writer.js'

const block = 512

export const tarWords = [
  '../',
  '/',
  './',
  '..',
  '.',
  '.wh.',
  '.wh..wh..opq',
  '.wh..',
  '.wh...',
  '.wh..wh.plnk/',
  'a',
  'd/a',
  'ustar\0' + '00',
  'ustar  \0',
  '\0',
  '0',
  '1',
  '2',
  '3',
  '4',
  '5',
  '6',
  '7',
  'g',
  'x',
  'L',
  'K',
  'S',
  'V',
  '00000000000\0',
  '77777777777\0',
  '-0000000001\0',
  '\x80\0\0\0\0\0\0\0\0\0\x01',
  '\xff\xff\xff\xff\xff\xff\xff\xff',
  '12 path=a/b\n',
  '15 linkpath=../\n',
  '11 size=99\n',
  '12 size=-1\n',
  '30 mtime=1700000000.123456789\n',
  '22 SCHILY.xattr.user.x=\n',
  '37 SCHILY.xattr.trusted.overlay.opaque=y\n',
  '18 GNU.sparse.major=1\n',
  '20 GNU.sparse.minor=0\n',
  '26 GNU.sparse.realsize=512\n',
  '22 GNU.sparse.size=99\n',
  '25 GNU.sparse.map=0,1,9,1\n',
  '23 GNU.sparse.name=a/b\n',
  '22 GNU.sparse.offset=1\n',
  '24 GNU.sparse.numbytes=1\n',
  '1\n0\n512\n',
].map(word => word)

const entryDefaults = {
  type: 'file',
  linkPath: Buffer.alloc(0),
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: { seconds: 1_700_000_000, nanoseconds: 0 },
  devMajor: 0,
  devMinor: 0,
  xattrs: [],
}

export function tarOf(drafts) {
  const parts = drafts.map(({ path, link = '', content = '', ...more }) => {
    const body = Buffer.from(content)
    const entry = {
      ...entryDefaults,
      ...more,
      path: Buffer.from(path),
      linkPath: Buffer.from(link),
    }
    return [encodeEntry({ ...entry, size: body.length }), body, contentPadding(body.length)]
  })
  return Buffer.concat([...parts.flat(), endOfArchive()])
}

const symlink = (path, link) => ({ path, link, type: 'symlink' })
const hardlink = (path, link) => ({ path, link, type: 'hardlink' })
const directory = path => ({ path: `${path}/`, type: 'directory', mode: 0o755 })
const file = path => ({ path, content: `of ${path}` })

// `outside`: what no archive may reach.
function written(outside) {
  const xattrs = [{ name: Buffer.from('user.x'), value: Buffer.from([0, 10, 255]) }]
  return [
    [],
    [directory('d'), file('d/a'), symlink('l', 'd'), file('l/b'), hardlink('h', 'd/a')],
    [hardlink('h', 'later'), file('later'), { path: 'p', type: 'fifo' }],
    [
      { path: 'c', type: 'character-device', devMajor: 1, devMinor: 3 },
      { path: 'w', type: 'character-device' },
    ],
    [{ ...file('x'), uid: 2 ** 32 - 2, mtime: { seconds: -1, nanoseconds: 5 }, xattrs }],
    [file(`${'long/'.repeat(60)}${'n'.repeat(255)}`), symlink('s', 'x'.repeat(300))],
    [directory('d'), file('d/.wh.a'), file('.wh.l'), file('d/.wh..wh..opq'), file('d/n')],
    [file('.wh.d'), directory('d'), file('d/n'), file('zz/.wh.nope')],
    [symlink('l', outside), file('l/f'), hardlink('h', 'l/f'), file('l/.wh.f')],
    [symlink('l', '../victim'), file('l/.wh..wh..opq'), file('../victim/f'), file(`${outside}/f`)],
    [directory('d'), file('d/x'), symlink('./d/', outside), file('d//f')],
    [symlink('a', '..'), symlink('b', 'a/victim'), { ...hardlink('h', 'b/f'), mode: 0o777 }],
    [{ ...directory('.'), mode: 0o700 }, file('./f'), file('f/y'), directory('f')],
  ].map(tarOf)
}

const formats = [
  ['--format=gnu'],
  ['--format=pax'],
  ['--format=ustar'],
  ['--format=v7'],
  ['--format=oldgnu'],
]
const sparse = [
  ['--format=gnu', '-S'],
  ...['0.0', '0.1', '1.0'].map(v => ['--format=pax', '-S', `--sparse-version=${v}`]),
]

function byGnuTar() {
  const root = mkdtempSync(join(tmpdir(), 'fuzz-seed-'))
  try {
    mkdirSync(join(root, 'd'))
    writeFileSync(join(root, 'd/f'), 'text')
    symlinkSync('f', join(root, 'd/l'))
    writeFileSync(join(root, 'd/holes'), 'x')
    truncateSync(join(root, 'd/holes'), 300_000)
    return [...formats, ...sparse].map(flags =>
      execFileSync('tar', ['-c', ...flags, '-b', '1', '-C', root, 'd'], { maxBuffer: 2 ** 24 }),
    )
  } finally {
    rmSync(root, { recursive: true })
  }
}

export function tarSeeds(outside) {
  // What GNU tar makes of holes without -S is long, and zeros.
  return [...written(outside), ...byGnuTar().filter(({ length }) => length < 65_536)]
}

// Of every block that looks like a header.
export function repairChecksums(bytes) {
  for (let at = 0; at + block <= bytes.length; at += block) {
    const header = bytes.subarray(at, at + block)
    if (header.toString('latin1', 257, 262) !== 'ustar') continue
    header.fill(' ', 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  }
}
