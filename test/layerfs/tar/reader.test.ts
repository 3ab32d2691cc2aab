import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { body, end, extension, octal, paxRecord, rawHeader, readTar } from './tar-support.ts'

function named(...parts: Buffer[]): string[] {
  return readTar(Buffer.concat([...parts, end])).map(entry => entry.path.toString('latin1'))
}

function first(...parts: Buffer[]) {
  const [entry] = readTar(Buffer.concat([...parts, end]))
  if (entry === undefined) throw new Error('No entry')
  return entry
}

describe('TarReader', () => {
  test.each(['0', '\0', '7'])('A26 takes type %j for a file', type => {
    const entry = first(rawHeader({ name: 'f', type, size: octal(3) }), body('abc'))
    expect([entry.type, entry.content.toString()]).toEqual(['file', 'abc'])
  })

  test('A26 reads V7: a name that ends in "/" is a directory', () => {
    const entry = first(rawHeader({ name: 'd/', type: '\0', magic: '' }))
    expect([entry.type, entry.path.toString()]).toEqual(['directory', 'd/'])
  })

  test('A28 skips the content of a file called "d/", which hides no entry from other readers', () => {
    const hidden = Buffer.concat([rawHeader({ name: 'hidden', size: octal(0) })])
    for (const type of ['0', '7']) {
      const size = octal(hidden.length)
      const parts = [rawHeader({ name: 'd/', type, size }), hidden, rawHeader({ name: 'f' })]
      expect(named(...parts)).toEqual(['d/', 'f'])
    }
  })

  test('A28 refuses a V7 directory with content, on which readers disagree', () => {
    const header = rawHeader({ name: 'd/', type: '\0', magic: '', size: octal(512) })
    expect(() => named(header, rawHeader({ name: 'hidden' }))).toThrow('has content')
  })

  test('A26 joins a ustar prefix, and star takes a shorter one', () => {
    const star = (block: Buffer): void => {
      block.write('00000000000 00000000000 ', 476, 'latin1')
      block.write('tar\0', 508, 'latin1')
    }
    expect(named(rawHeader({ name: 'f', prefix: 'p/q' }))).toEqual(['p/q/f'])
    expect(named(rawHeader({ name: 'f', prefix: 'p', more: star }))).toEqual(['p/f'])
  })

  test('A26 takes GNU long names and link targets, bytes as they are', () => {
    const long = `${'ä\xff\n'.repeat(100)}x`
    const entry = first(
      extension('L', `${long}\0`),
      extension('K', `${long}y\0`),
      rawHeader({ name: 'cut', link: 'cut', type: '2', magic: 'ustar  \0' }),
    )
    expect(entry.path.toString('latin1')).toBe(long)
    expect(entry.linkPath.toString('latin1')).toBe(`${long}y`)
  })

  test('A26 ignores global headers, volume labels and makes no file of them', () => {
    expect(
      named(
        extension('g', paxRecord('comment', 'abc')),
        rawHeader({ name: 'label', type: 'V' }),
        rawHeader({ name: 'f' }),
      ),
    ).toEqual(['f'])
  })

  test.each(['path', 'size', 'linkpath', 'GNU.sparse.name'])(
    'A26 refuses a global header with "%s", on which readers disagree',
    keyword => {
      expect(() =>
        named(extension('g', paxRecord(keyword, '1')), rawHeader({ name: 'f' })),
      ).toThrow(`Cannot read tar global header: "${keyword}" for all entries`)
    },
  )

  test.each(['M', 'N', 'Z', '9', '\xff'])('A26 refuses the unknown type %j', type => {
    expect(() => named(rawHeader({ name: 'f', type }))).toThrow(
      expect.objectContaining({ code: 'unsupported' }),
    )
  })

  test.each([
    ['GNU "S"', ['--format=gnu', '-S']],
    ['PAX 0.0', ['--format=pax', '-S', '--sparse-version=0.0']],
    ['PAX 0.1', ['--format=pax', '-S', '--sparse-version=0.1']],
    ['PAX 1.0', ['--format=pax', '-S', '--sparse-version=1.0']],
  ])('A26 reads sparse files of GNU tar: %s', (_, options) => {
    const dir = mkdtempSync(join(tmpdir(), 'tar-test-'))
    try {
      // More regions than a header block and an extension block hold.
      const script = `truncate -s 3M f; for i in $(seq 60); do printf "data$i" | dd of=f bs=1 seek=$((i * 40000)) conv=notrunc 2>/dev/null; done`
      execFileSync('sh', ['-ec', script], { cwd: dir })
      const tar = execFileSync('tar', ['-C', dir, '-cf', '-', ...options, 'f'])
      const expected = execFileSync('cat', [join(dir, 'f')], { maxBuffer: 1 << 24 })
      for (const chunkSize of [1 << 20, 511]) {
        const [entry] = readTar(tar, { chunkSize })
        expect([entry?.path.toString(), entry?.size]).toEqual(['f', 3 << 20])
        expect(entry?.content.equals(expected)).toBe(true)
      }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  test('A27 takes a ustar prefix under GNU magic where times should be', () => {
    const gnu = 'ustar  \0'
    expect(named(rawHeader({ name: 'f', magic: gnu, prefix: 'usr/share/doc' }))).toEqual([
      'usr/share/doc/f',
    ])
    expect(
      named(rawHeader({ name: 'f', magic: gnu, prefix: `${octal(1e9)}${octal(1e9)}` })),
    ).toEqual(['f'])
    expect(named(rawHeader({ name: 'f', magic: gnu, prefix: '\xff\xfe'.repeat(20) }))).toEqual([
      'f',
    ])
  })

  test('A28 the size in a PAX header decides where the next header is (TARmageddon, CVE-2025-62518)', () => {
    const inner = Buffer.concat([rawHeader({ name: 'hidden', size: octal(0) }), end])
    const names = named(
      extension('x', paxRecord('size', String(inner.length))),
      rawHeader({ name: 'outer', size: octal(0) }),
      inner,
      rawHeader({ name: 'next' }),
    )
    expect(names).toEqual(['outer', 'next'])
  })

  test('A28 the last record wins, and an empty value takes it back', () => {
    const records = (...pairs: [string, string][]): Buffer =>
      extension('x', pairs.map(([key, value]) => paxRecord(key, value)).join(''))
    expect(named(records(['path', 'a'], ['path', 'b']), rawHeader({ name: 'c' }))).toEqual(['b'])
    expect(named(records(['path', 'a'], ['path', '']), rawHeader({ name: 'c' }))).toEqual(['c'])
  })

  test.each([
    ['no length', 'path=x\n'],
    ['a length that is too long', '99 path=x\n'],
    ['a length that is too short', '5 path=x\n'],
    ['no newline', '9 path=xy'],
    ['no "="', '8 pathx\n'],
    ['a huge length', '99999999999999999999 path=x\n'],
    ['a leading zero', '010 path=x\n'],
    ['a size that is no number', paxRecord('size', '0x10')],
    ['a negative size', paxRecord('size', '-1')],
    ['a size beyond 2^53', paxRecord('size', '9007199254740993')],
    ['an owner beyond 32 bits', paxRecord('uid', '4294967295')],
    ['a time that is none', paxRecord('mtime', 'yesterday')],
    ['a NUL in the path', paxRecord('path', 'a\0b')],
  ])('A28 refuses a PAX header with %s', (_, records) => {
    expect(() => named(extension('x', records), rawHeader({ name: 'f' }))).toThrow(
      expect.objectContaining({ code: 'invalid' }),
    )
  })

  test('A28 refuses what readers take differently: two headers, both kinds of long name', () => {
    const pax = extension('x', paxRecord('path', 'a'))
    expect(() => named(pax, pax, rawHeader({ name: 'f' }))).toThrow('it has two PAX headers')
    expect(() => named(pax, extension('L', 'b\0'), rawHeader({ name: 'f' }))).toThrow(
      'both a GNU and a PAX header give its path',
    )
    expect(() => named(pax)).toThrow('an extended header describes no entry')
  })

  test('A28 reads base-256 numbers, and refuses a negative or endless size', () => {
    const base256 = (length: number, ...tail: number[]): Buffer => {
      const bytes = Buffer.alloc(length)
      bytes[0] = 0x80
      Buffer.from(tail).copy(bytes, length - tail.length)
      return bytes
    }
    const entry = first(
      rawHeader({ name: 'f', uid: base256(8, 0xee, 0x6b, 0x27, 0xff), size: base256(12, 3) }),
      body('abc'),
    )
    expect([entry.uid, entry.size]).toEqual([3999999999, 3])
    const minusOne = Buffer.alloc(12, 0xff)
    expect(first(rawHeader({ name: 'f', mtime: minusOne })).mtime.seconds).toBe(-1)
    for (const size of [minusOne, base256(12, 0x40, 0, 0, 0, 0, 0, 0, 0)]) {
      expect(() => named(rawHeader({ name: 'f', size }))).toThrow(
        expect.objectContaining({ code: 'invalid' }),
      )
    }
  })

  test.each([
    ['blank-led', '    644 '],
    ['NUL-ended', '0000644\0'],
    ['blank and NUL', '000644 \0'],
    ['short', '644\0rubb'],
  ])('reads the octal mode of %s writers', (_, mode) => {
    expect(first(rawHeader({ name: 'f', mode })).mode).toBe(0o644)
  })

  test('refuses a number with a digit that is none, and a wrong checksum', () => {
    expect(() => named(rawHeader({ name: 'f', size: '0000000008\0\0' }))).toThrow('not a number')
    const block = rawHeader({ name: 'f' })
    block[0] = 0x67
    expect(() => named(block)).toThrow('wrong checksum')
  })

  test('accepts the checksum of signed characters', () => {
    const block = rawHeader({ name: 'f\xff' })
    const sum = Number.parseInt(block.toString('latin1', 148, 154), 8)
    block.write(`${(sum - 256).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
    expect(named(block)).toEqual(['f\xff'])
  })

  test('A29 ends at two zero blocks, swallows what follows, and needs none of them', () => {
    const file = Buffer.concat([rawHeader({ name: 'f', size: octal(3) }), body('abc')])
    const names = (tar: Buffer) => readTar(tar).map(entry => entry.path.toString())
    expect(names(Buffer.concat([file, end, Buffer.from('garbage'), file]))).toEqual(['f'])
    expect(names(file)).toEqual(['f'])
    expect(names(file.subarray(0, 515))).toEqual(['f'])
    expect(names(Buffer.concat([file, Buffer.alloc(512)]))).toEqual(['f'])
    expect(names(Buffer.concat([file, Buffer.alloc(100)]))).toEqual(['f'])
    expect(names(Buffer.alloc(0))).toEqual([])
  })

  test('A29 refuses an archive that stops in an entry, and a lone zero block', () => {
    const file = Buffer.concat([rawHeader({ name: 'f', size: octal(3) }), body('abc')])
    for (const length of [100, 511, 512, 514]) {
      expect(() => readTar(file.subarray(0, length))).toThrow('it ends inside an entry')
    }
    expect(() => readTar(Buffer.concat([file, Buffer.alloc(512), file]))).toThrow('lone zero block')
    expect(() => readTar(extension('x', paxRecord('path', 'a')))).toThrow('it ends inside an entry')
  })

  test('A20 keeps attribute values with their bytes, and prefers SCHILY over libarchive', () => {
    const value = 'a\n\0=\xff'
    const pax = [
      paxRecord('LIBARCHIVE.xattr.user.both', Buffer.from('other').toString('base64')),
      paxRecord('SCHILY.xattr.user.both', value),
      paxRecord('LIBARCHIVE.xattr.user.%41%3d', Buffer.from(value, 'latin1').toString('base64')),
      paxRecord('SCHILY.xattr.user.empty', ''),
    ].join('')
    const { xattrs } = first(extension('x', pax), rawHeader({ name: 'f' }))
    expect(xattrs.map(x => [x.name.toString('latin1'), x.value.toString('latin1')])).toEqual([
      ['user.both', value],
      ['user.A=', value],
      ['user.empty', ''],
    ])
  })

  test.each([
    ['123.456789012', [123, 456789012]],
    ['-1', [-1, 0]],
    ['-1.25', [-2, 750000000]],
    ['8589934592.5', [8589934592, 500000000]],
    ['1.', [1, 0]],
    ['1.1234567899', [1, 123456789]],
  ])('A18 reads the time %s', (text, [seconds, nanoseconds]) => {
    const { mtime } = first(extension('x', paxRecord('mtime', text)), rawHeader({ name: 'f' }))
    expect([mtime.seconds, mtime.nanoseconds]).toEqual([seconds, nanoseconds])
  })

  test('gives links, directories and devices no content, whatever their size says', () => {
    for (const type of ['1', '2', '3', '4', '5', '6']) {
      const names = named(
        rawHeader({ name: 'a', link: 'b', type, size: octal(1000) }),
        rawHeader({ name: 'next' }),
      )
      expect(names).toEqual(['a', 'next'])
    }
  })

  test('stops at each budget', () => {
    const huge = rawHeader({ name: 'x', type: 'x', size: octal(2 ** 31) })
    expect(() => readTar(huge)).toThrow(expect.objectContaining({ code: 'too-large' }))
    for (const type of ['L', 'K', 'g']) {
      const long = rawHeader({ name: 'x', type, size: octal(2 ** 31) })
      expect(() => readTar(long)).toThrow(expect.objectContaining({ code: 'too-large' }))
    }
    const files = Buffer.concat([rawHeader({ name: 'a' }), rawHeader({ name: 'b' }), end])
    expect(() => readTar(files, { budgets: { entries: 1 } })).toThrow('more than 1 entries')
    const large = rawHeader({ name: 'a', size: octal(2 ** 30) })
    expect(() => readTar(large, { budgets: { content: 1000 } })).toThrow('exceed 1000 bytes')
  })
})

describe('TarReader on sparse maps', () => {
  const sparse = (records: [string, string][], content: string, size: number) =>
    first(
      extension('x', records.map(([key, value]) => paxRecord(key, value)).join('')),
      rawHeader({ name: 'f', size: octal(size) }),
      body(content),
    )

  test.each([
    ['overlap', '0,10,5,10', '20'],
    ['leave the file', '0,10,15,10', '20'],
    ['go backwards', '10,10,0,10', '20'],
    ['hold less than the archive', '0,10', '20'],
    ['hold more than the archive', '0,10,10,15', '99'],
    ['are negative', '0,-1', '20'],
    ['are endless', '0,99999999999999999999', '20'],
    ['have no length', '0,10,12', '20'],
  ])('refuses regions that %s', (_, map, size) => {
    const records: [string, string][] = [
      ['GNU.sparse.size', size],
      ['GNU.sparse.map', map],
    ]
    expect(() => sparse(records, 'x'.repeat(20), 20)).toThrow(
      expect.objectContaining({ code: 'invalid' }),
    )
  })

  const version1: [string, string][] = [
    ['GNU.sparse.major', '1'],
    ['GNU.sparse.minor', '0'],
    ['GNU.sparse.realsize', '100'],
    ['GNU.sparse.name', 'real'],
  ]

  test('takes the real name and size', () => {
    const map = `1\n90\n5\n${'\0'.repeat(512 - 7)}`
    const entry = sparse(version1, `${map}hello`, 517)
    expect([entry.path.toString(), entry.size]).toEqual(['real', 100])
    expect(entry.content.toString()).toBe(`${'\0'.repeat(90)}hello${'\0'.repeat(5)}`)
  })

  test.each([
    ['fills the whole content', `9999\n${'1\n'.repeat(600)}`],
    ['is no number', `x\n${'\0'.repeat(510)}`],
  ])('refuses a map in the content that %s (the class of CVE-2025-58183)', (_, content) => {
    expect(() => sparse(version1, content, content.length)).toThrow(
      expect.objectContaining({ code: 'invalid' }),
    )
  })

  test('stops at a map that is larger than the budget', () => {
    const map = Buffer.alloc(2 << 20, '1\n')
    map.write('999999999\n')
    const pax = version1.map(([key, value]) => paxRecord(key, value)).join('')
    const tar = Buffer.concat([
      extension('x', pax),
      rawHeader({ name: 'f', size: octal(map.length) }),
      map,
    ])
    expect(() => readTar(tar)).toThrow(expect.objectContaining({ code: 'too-large' }))
  })
})
