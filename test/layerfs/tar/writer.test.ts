import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EntryType, TarEntry } from '../../../src/layerfs/tar/entry.ts'
import { contentPadding, encodeEntry, endOfArchive } from '../../../src/layerfs/tar/writer.ts'
import { readTar } from './tar-support.ts'

const plain: TarEntry = {
  type: 'file',
  path: Buffer.from('f'),
  linkPath: Buffer.alloc(0),
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  devMajor: 0,
  devMinor: 0,
  xattrs: [],
}

function archive(entry: TarEntry): Buffer {
  const content = Buffer.alloc(entry.size, 'x')
  return Buffer.concat([encodeEntry(entry), content, contentPadding(entry.size), endOfArchive()])
}

/** Any name that Linux allows. */
const name = fc
  .uint8Array({ minLength: 1, maxLength: 300 })
  .map(bytes => Buffer.from(bytes.map(byte => (byte === 0 || byte === 0x2f ? 0x61 : byte))))
const path = fc
  .array(name, { minLength: 1, maxLength: 5 })
  .map(names =>
    Buffer.concat(names.flatMap((each, i) => (i === 0 ? [each] : [Buffer.from('/'), each]))),
  )
const id = fc.oneof(fc.nat(0o7777777), fc.constantFrom(2097151, 2097152, 4294967294))

const anyEntry = fc
  .record({
    type: fc.constantFrom<EntryType>(
      'file',
      'hardlink',
      'symlink',
      'directory',
      'fifo',
      'character-device',
      'block-device',
    ),
    path,
    link: path,
    mode: fc.nat(0o7777),
    uid: id,
    gid: id,
    size: fc.nat(2000),
    seconds: fc.oneof(fc.integer(), fc.constantFrom(8589934591, 8589934592, -1)),
    nanoseconds: fc.oneof(fc.constant(0), fc.nat(999_999_999)),
    device: fc.nat(0xffffffff),
    xattrs: fc.uniqueArray(fc.record({ name, value: fc.uint8Array() }), {
      maxLength: 3,
      selector: xattr => xattr.name.toString('latin1'),
    }),
  })
  .map(({ type, link, seconds, nanoseconds, device, size, xattrs, ...rest }): TarEntry => {
    const isDevice = type.endsWith('device')
    return {
      ...rest,
      type,
      path: type === 'directory' ? Buffer.concat([rest.path, Buffer.from('/')]) : rest.path,
      linkPath: type.endsWith('link') ? link : Buffer.alloc(0),
      size: type === 'file' ? size : 0,
      mtime: { seconds, nanoseconds },
      devMajor: isDevice ? device : 0,
      devMinor: isDevice ? device : 0,
      xattrs: xattrs
        // "=" ends a keyword: no writer can put it into a name.
        .map(x => ({
          name: Buffer.from(x.name.map(b => (b === 0x3d ? 0x61 : b))),
          value: Buffer.from(x.value),
        }))
        .filter((x, i, all) => all.findIndex(y => y.name.equals(x.name)) === i)
        .sort((a, b) => Buffer.compare(a.name, b.name)),
    }
  })

describe('encodeEntry()', () => {
  test('A18 A19 A20 A32 any entry comes back as it was, whatever the chunks', () => {
    fc.assert(
      fc.property(anyEntry, fc.integer({ min: 1, max: 3000 }), (entry, chunkSize) => {
        const [read] = readTar(archive(entry), { chunkSize })
        const { content, ...same } = read ?? { content: Buffer.alloc(0) }
        expect(same).toEqual(entry)
        expect(content.length).toBe(entry.size)
      }),
      { numRuns: 300 },
    )
  })

  test('writes plain ustar where that can say it, and a PAX header where not', () => {
    const blocks = (entry: Partial<TarEntry>): number =>
      encodeEntry({ ...plain, ...entry }).length / 512
    const long = (length: number): Buffer => Buffer.from('n'.repeat(length))
    expect(blocks({ path: long(100) })).toBe(1)
    expect(blocks({ path: Buffer.from(`${'d'.repeat(155)}/${'n'.repeat(100)}`) })).toBe(1)
    expect(blocks({ path: Buffer.from(`${'d'.repeat(155)}/${'n'.repeat(99)}/`) })).toBe(1)
    expect(blocks({ uid: 2097151, mtime: { seconds: 8589934591, nanoseconds: 0 } })).toBe(1)
    expect(blocks({ path: long(101) })).toBe(3)
    expect(blocks({ path: Buffer.from('ä') })).toBe(3)
    expect(blocks({ uid: 2097152 })).toBe(3)
    expect(blocks({ mtime: { seconds: -1, nanoseconds: 0 } })).toBe(3)
    expect(blocks({ mtime: { seconds: 1, nanoseconds: 1 } })).toBe(3)
  })

  test('GNU tar reads what we write', () => {
    const entries: TarEntry[] = [
      { ...plain, path: Buffer.from(`${'d'.repeat(120)}/${'n'.repeat(200)}`), mode: 0o4755 },
      { ...plain, path: Buffer.from('ä\n\\'), uid: 3_000_000, gid: 4_294_967_294 },
      {
        ...plain,
        path: Buffer.from('l'),
        type: 'symlink',
        linkPath: Buffer.from('t'.repeat(300)),
        mode: 0o777,
      },
      { ...plain, path: Buffer.from('c'), type: 'character-device', devMajor: 1, devMinor: 3 },
      { ...plain, path: Buffer.from('old'), mtime: { seconds: -86400, nanoseconds: 0 } },
      { ...plain, path: Buffer.from('far'), mtime: { seconds: 10_000_000_000, nanoseconds: 0 } },
      { ...plain, path: Buffer.from('d/'), type: 'directory', mode: 0 },
    ]
    const tar = Buffer.concat([...entries.map(encodeEntry), endOfArchive()])
    const listing = execFileSync('tar', ['--utc', '--numeric-owner', '-tvf', '-'], {
      input: tar,
      env: { ...process.env, LC_ALL: 'C' },
    })
    expect(listing.toString().replace(/ +/g, ' ').trim().split('\n')).toEqual([
      `-rwsr-xr-x 0/0 0 1970-01-01 00:00 ${'d'.repeat(120)}/${'n'.repeat(200)}`,
      '-rw-r--r-- 3000000/4294967294 0 1970-01-01 00:00 \\303\\244\\n\\\\',
      `lrwxrwxrwx 0/0 0 1970-01-01 00:00 l -> ${'t'.repeat(300)}`,
      'crw-r--r-- 0/0 1,3 1970-01-01 00:00 c',
      '-rw-r--r-- 0/0 0 1969-12-31 00:00 old',
      '-rw-r--r-- 0/0 0 2286-11-20 17:46 far',
      'd--------- 0/0 0 1970-01-01 00:00 d/',
    ])
  })
})
