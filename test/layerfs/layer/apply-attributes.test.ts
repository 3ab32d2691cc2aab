import { execFileSync } from 'node:child_process'

import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { xattrsAt } from '../../../src/layerfs/layer/attributes.ts'
import type { Root } from '../../../src/layerfs/layer/rootfs.ts'
import type { FileStat } from '../../../src/layerfs/native/syscalls.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import {
  type Bench,
  diffIdOf,
  dir,
  type EntryDraft,
  file,
  hardlink,
  layerBench,
  listTree,
  symlink,
  tarOf,
  whiteout,
} from './layer-support.ts'

async function withStack<T>(
  stack: readonly (readonly EntryDraft[])[],
  look: (root: Root, bench: Bench) => T,
): Promise<T> {
  using bench = layerBench()
  for (const layer of stack) await bench.apply(layer)
  using view = bench.view()
  return look(view, bench)
}

const brief = ({ mode, uid, gid, mtime }: FileStat): unknown[] => [
  mode & 0o7777,
  uid,
  gid,
  mtime.seconds,
]

function xattrs(root: Root, path: string): Record<string, string> {
  const at = root.openParent(path, 'keep')
  try {
    const list = xattrsAt(at.fd, at.name)
    return Object.fromEntries(list.map(({ name, value }) => [`${name}`, value.toString('latin1')]))
  } finally {
    at[Symbol.dispose]()
  }
}

describe('applyLayer(), attributes', () => {
  test('A11 an implied directory has what it has below, else 0755 root and a time that repeats', async () => {
    const lower = [
      dir('p', { mode: 0o700, uid: 7, gid: 8, seconds: 500, xattrs: { 'user.p': '1' } }),
      dir('p/q', { mode: 0o1777, uid: 9, seconds: 600 }),
    ]
    await withStack([lower, [file('p/q/r/s', '', { seconds: 900 })]], root => {
      expect(brief(root.stat('p', 'keep'))).toEqual([0o700, 7, 8, 500])
      expect(brief(root.stat('p/q', 'keep'))).toEqual([0o1777, 9, 0, 600])
      expect(brief(root.stat('p/q/r', 'keep'))).toEqual([0o755, 0, 0, 900])
      expect(xattrs(root, 'p')).toEqual({ 'user.p': '1' })
    })
  })

  test('A11 a directory that only a whiteout needed has what it has below', async () => {
    const lower = [dir('p', { mode: 0o750, uid: 7, seconds: 500 }), file('p/f')]
    await withStack([lower, [whiteout('p/.wh.f')]], root => {
      expect(brief(root.stat('p', 'keep'))).toEqual([0o750, 7, 0, 500])
    })
  })

  test('A6 A11 a directory deleted and implied again has nothing of the old one', async () => {
    const lower = [dir('p/q', { mode: 0o600, uid: 7, seconds: 500, xattrs: { 'user.q': '1' } })]
    for (const marker of ['p/.wh.q', '.wh.p']) {
      await withStack([lower, [whiteout(marker), file('p/q/r', '', { seconds: 900 })]], root => {
        expect(brief(root.stat('p/q', 'keep'))).toEqual([0o755, 0, 0, 900])
        expect(xattrs(root, 'p/q')).toEqual({})
      })
    }
  })

  test('A13 the root entry describes the root, and without one the root stays as it was', async () => {
    const lower = [
      dir('.', { mode: 0o700, uid: 5, gid: 6, seconds: 700, xattrs: { 'user.r': '1' } }),
    ]
    await withStack([lower, [file('f')]], root => {
      expect(brief(root.stat('/', 'keep'))).toEqual([0o700, 5, 6, 700])
      expect(xattrs(root, '/')).toEqual({ 'user.r': '1' })
    })
    await withStack([[file('f')]], root => {
      expect(brief(root.stat('/', 'keep'))).toEqual([0o755, 0, 0, 0])
    })
  })

  test.each(['.', './', '/', '../..'])('A13 refuses to make the root "%s" a link', async path => {
    await expect(withStack([[symlink(path, '/tmp')]], () => {})).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('the root a symlink'),
    })
  })

  test('A15 a hard link entry describes the file again, and keeps its capabilities', async () => {
    const capability = Buffer.from(`0100000200200000${'00'.repeat(12)}`, 'hex')
    const layer: EntryDraft[] = [
      file('f', 'x', { mode: 0o755, xattrs: { 'security.capability': capability } }),
      { ...hardlink('h', 'f'), mode: 0o755 },
      file('g'),
      { ...hardlink('i', 'g'), mode: 0o4711, uid: 3, seconds: 77 },
    ]
    await withStack([layer], root => {
      expect(xattrs(root, 'h')['security.capability']).toBe(capability.toString('latin1'))
      expect(brief(root.stat('g', 'keep'))).toEqual([0o4711, 3, 0, 77])
    })
  })

  test('A16 A17 setuid survives chown and the umask; directories keep their time', async () => {
    const layer = [
      dir('d', { mode: 0o1777, seconds: 123 }),
      file('d/f', 'x', { mode: 0o6755, uid: 3, gid: 4 }),
      dir('d/e', { mode: 0o2770, seconds: 124 }),
      file('d/e/f'),
    ]
    const umask = process.umask(0o077)
    try {
      await withStack([layer], root => {
        expect(brief(root.stat('d/f', 'keep')).slice(0, 3)).toEqual([0o6755, 3, 4])
        expect(brief(root.stat('d', 'keep'))).toEqual([0o1777, 0, 0, 123])
        expect(brief(root.stat('d/e', 'keep'))).toEqual([0o2770, 0, 0, 124])
      })
    } finally {
      process.umask(umask)
    }
  })

  test('A18 times before 1970, after 2038, of links, to the nanosecond', async () => {
    const layer: EntryDraft[] = [
      file('ns', '', { seconds: 1_700_000_000, nanoseconds: 123_456_789 }),
      file('old', '', { seconds: -2, nanoseconds: 5 }),
      file('far', '', { seconds: 10_000_000_000 }),
      { ...symlink('link', 'x'), seconds: 42 },
      file('zero', '', { seconds: 0 }),
    ]
    await withStack([layer], root => {
      const times = layer.map(({ path }) => root.stat(path, 'keep').mtime)
      expect(times.map(({ seconds, nanoseconds }) => [seconds, nanoseconds])).toEqual([
        [1_700_000_000, 123_456_789],
        [-2, 5],
        [10_000_000_000, 0],
        [42, 0],
        [0, 0],
      ])
    })
  })

  test('A19 owners beyond 21 bits', async () => {
    await withStack([[file('f', '', { uid: 3_999_999_999, gid: 3_000_000 })]], root => {
      expect(brief(root.stat('f', 'keep')).slice(1, 3)).toEqual([3_999_999_999, 3_000_000])
    })
  })

  test('A20 A23 extended attributes with their bytes; those a link cannot have are left out', async () => {
    const value = Buffer.from('a\n\0=\xff', 'latin1')
    const layer: EntryDraft[] = [
      file('f', '', { xattrs: { 'user.bin': value, 'user.empty': '', 'trusted.x': '1' } }),
      { ...symlink('l', 'f'), xattrs: { 'user.x': '1', 'trusted.y': '2' } },
    ]
    await withStack([layer], root => {
      expect(xattrs(root, 'f')).toEqual({
        'user.bin': value.toString('latin1'),
        'user.empty': '',
        'trusted.x': '1',
      })
      expect(xattrs(root, 'l')).toEqual({ 'trusted.y': '2' })
    })
  })

  test('A21 attributes of overlayfs from a tar give our own overlay no orders', async () => {
    const orders = {
      'trusted.overlay.opaque': 'y',
      'trusted.overlay.redirect': '/etc',
      'trusted.overlay.metacopy': '',
      'security.selinux': 'x',
    }
    const lower = [dir('d'), file('d/low'), dir('etc'), file('etc/passwd', 'secret')]
    const layer = [dir('d', { xattrs: orders }), file('d/f', 'mine', { xattrs: orders })]
    await withStack([lower, layer], (root, bench) => {
      expect(listTree(root)).toEqual([
        'd dir',
        'd/f "mine"',
        'd/low "d/low"',
        'etc dir',
        'etc/passwd "secret"',
      ])
      const names = execFileSync('python3', [
        '-c',
        `import os; print(sorted(os.listxattr('${bench.layers[0]}/d')))`,
      ]).toString()
      expect(names).toContain('trusted.overlay.overlay.opaque')
      expect(names).not.toContain("'trusted.overlay.opaque'")
    })
  })

  test('A24 device 0:0 hides nothing: it is no whiteout', async () => {
    const zero: EntryDraft = { path: 'f', type: 'character-device', mode: 0o666 }
    await withStack([[file('f', 'low'), file('g')], [zero]], root => {
      expect(listTree(root)).toEqual(['f ""', 'g "g"'])
    })
  })

  test('A24 device 0:0 has the owner and time of its entry, so that unpacking it repeats', async () => {
    const zero: EntryDraft = {
      path: 'f',
      type: 'character-device',
      mode: 0o640,
      uid: 7,
      seconds: 1234,
    }
    await withStack([[zero]], root => {
      expect(root.stat('f', 'keep')).toMatchObject({ uid: 7, mtime: { seconds: 1234 } })
    })
  })

  test('A24 devices and FIFOs', async () => {
    const layer: EntryDraft[] = [
      { path: 'null', type: 'character-device', mode: 0o666, device: [1, 3], uid: 1 },
      { path: 'loop', type: 'block-device', device: [7, 0] },
      { path: 'fifo', type: 'fifo', mode: 0o600 },
    ]
    await withStack([layer], root => {
      expect(listTree(root)).toEqual(['fifo fifo', 'loop block', 'null char'])
      const { rdevMajor, rdevMinor, mode, uid } = root.stat('null', 'keep')
      expect([rdevMajor, rdevMinor, mode & 0o777, uid]).toEqual([1, 3, 0o666, 1])
    })
  })

  test('A31 leaves of aufs are no content, but may be linked to', async () => {
    const layer = [
      dir('.wh..wh.plnk'),
      file('.wh..wh.plnk/1.2', 'shared'),
      hardlink('a', '.wh..wh.plnk/1.2'),
      dir('.wh..wh.aufs'),
      file('.wh..wh.aufs/x'),
      dir('.wh..wh.orph'),
      file('d/.wh..wh.orph'),
    ]
    await withStack([layer], root => expect(listTree(root)).toEqual(['a "shared"']))
  })

  test('A32 A33 long names and paths, bytes that are no text, "..", "//" and case', async () => {
    const long = 'n'.repeat(255)
    const deep = Array.from({ length: 30 }, () => long).join('/')
    const layer: EntryDraft[] = [
      file(`${deep}/f`, 'deep'),
      { path: Buffer.from('a\nb\xff', 'latin1'), content: '1' },
      file('./x//y/../z', '2'),
      file('/abs', '3'),
      file('Case', '4'),
      file('case', '5'),
      file('...', '6'),
    ]
    await withStack([layer, [file(`${deep}/g`, 'above')]], root => {
      const lines = listTree(root)
      expect(lines).toContain(`${deep}/f "deep"`)
      expect(lines).toContain(`${deep}/g "above"`)
      expect(lines.filter(line => !line.startsWith('nnn'))).toEqual([
        '... "6"',
        'Case "4"',
        'a\nb\xff "1"',
        'abs "3"',
        'case "5"',
        'x dir',
        'x/z "2"',
      ])
    })
  })

  test('A32 refuses a name that is too long, naming its entry', async () => {
    await expect(withStack([[file('n'.repeat(256))]], () => {})).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/^Cannot apply layer entry "\/nnn/),
    })
  })
})

describe('applyLayer(), blobs', () => {
  const tar = tarOf([file('f', 'content')])
  const pack = (program: string, input: Buffer = tar): Buffer =>
    execFileSync('sh', ['-c', program], { input })

  test.each([
    ['a plain tar', tar, tar],
    ['gzip', gzipSync(tar), tar],
    [
      'gzip in several members',
      Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]),
      tar,
    ],
    ['gzip with zeros behind it', Buffer.concat([gzipSync(tar), Buffer.alloc(300_000)]), tar],
    ['zstd', pack('zstd -qc'), tar],
    [
      'zstd in frames, a skippable one first',
      Buffer.concat([
        Buffer.from('502a4d1804000000deadbeef', 'hex'),
        pack('zstd -qc', tar.subarray(0, 700)),
        pack('zstd -qc', tar.subarray(700)),
      ]),
      tar,
    ],
  ])('A1 A29 unpacks %s', async (_, blob, inside) => {
    using bench = layerBench()
    const applied = await bench.apply(inside, { blob })
    expect(applied).toEqual({ diffId: diffIdOf(inside), size: inside.length, entries: 1 })
    using view = bench.view()
    expect(listTree(view)).toEqual(['f "content"'])
  })

  test('A1 takes a blob without a byte for an empty layer', async () => {
    using bench = layerBench()
    const none = Buffer.alloc(0)
    expect(await bench.apply(none)).toEqual({ diffId: diffIdOf(none), size: 0, entries: 0 })
  })

  test('A29 the diff ID covers what follows the end of the tar', async () => {
    using bench = layerBench()
    const longer = Buffer.concat([tar, Buffer.from('garbage'.repeat(100_000))])
    const applied = await bench.apply(longer, { blob: gzipSync(longer) })
    expect(applied.size).toBe(longer.length)
  })

  test('A30 refuses a blob or a tar other than expected, also where it is damaged', async () => {
    const { applyLayer } = await import('../../../src/layerfs/layer/apply.ts')
    const { mkdirSync, writeFileSync } = await import('node:fs')
    using bench = layerBench()
    const good = gzipSync(tar)
    const expected = { digest: digestOf(good), size: good.length, diffId: diffIdOf(tar) }
    const flipped = Buffer.from(good)
    flipped[20] = (flipped[20] ?? 0) ^ 0xff
    const other = gzipSync(tarOf([file('g', 'content')]))
    const cases: [Buffer, Partial<typeof expected>, string][] = [
      [good.subarray(0, -1), {}, 'bytes, expected'],
      [Buffer.concat([good, Buffer.alloc(1)]), {}, 'bytes, expected'],
      [flipped, {}, 'the layer blob is sha256:'],
      [other, { size: other.length }, 'the layer blob is sha256:'],
      [good, { diffId: diffIdOf(Buffer.from('x')) }, 'the layer tar is sha256:'],
    ]
    for (const [index, [bytes, change, message]] of cases.entries()) {
      const target = `${bench.dir}/${index}`
      mkdirSync(target)
      writeFileSync(`${bench.dir}/blob`, bytes)
      const request = {
        blob: `${bench.dir}/blob`,
        target,
        lower: [],
        expected: { ...expected, ...change },
      }
      await expect(applyLayer(request)).rejects.toMatchObject({
        code: 'digest-mismatch',
        message: expect.stringContaining(message),
      })
    }
  })

  test.each([
    ['gzip cut short', gzipSync(tar).subarray(0, 60)],
    ['gzip with garbage behind it', Buffer.concat([gzipSync(tar), Buffer.from('garbage')])],
    ['text', Buffer.from('hello '.repeat(200))],
    ['zstd cut short', pack('zstd -qc').subarray(0, 40)],
  ])('A29 refuses %s with a clear error', async (_, blob) => {
    using bench = layerBench()
    await expect(bench.apply(tar, { blob })).rejects.toMatchObject({
      name: 'OciError',
      code: 'invalid',
    })
  })

  test('A1 refuses xz, which no layer is packed with, with a hint', async () => {
    using bench = layerBench()
    await expect(bench.apply(tar, { blob: pack('xz -c') })).rejects.toMatchObject({
      code: 'unsupported',
      hint: expect.stringContaining('gzip, zstd'),
    })
  })
})

test('descriptors opened while applying are closed again', async () => {
  const { readdirSync } = await import('node:fs')
  const count = (): number => readdirSync('/proc/self/fd').length
  using bench = layerBench()
  await bench.apply([dir('d'), symlink('dl', 'd')])
  const before = count()
  for (let i = 0; i < 5; i++) {
    await bench.apply([file(`dl/${i}`), whiteout('d/.wh.x'), hardlink(`h${i}`, `d/${i}`)])
    await expect(bench.apply([file('ok'), whiteout('.wh.')])).rejects.toThrow()
    await expect(
      bench.apply([file('a/b/c', 'x'.repeat(3000)), hardlink('x', 'a')]),
    ).rejects.toThrow()
  }
  expect(count()).toBe(before)
})
