import {
  chmodSync,
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Listing, listingOf, listingOfOne, typesOf } from '../../../src/layerfs/native/listing.ts'
import { copyStatus, notWanted, ownMode, syscalls } from '../../../src/layerfs/native/syscalls.ts'

let directory = ''
let fd = -1

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'listing-'))
  fd = openSync(directory, 'r')
})

afterAll(() => {
  closeSync(fd)
  rmSync(directory, { recursive: true })
})

function fresh(name: string): { path: string; fd: number } & Disposable {
  const path = join(directory, name)
  mkdirSync(path)
  const opened = openSync(path, 'r')
  return { path, fd: opened, [Symbol.dispose]: () => closeSync(opened) }
}

describe('listDirectory()', () => {
  it('tells of each entry what statx tells, in the order of the bytes', () => {
    using place = fresh('all')
    const names = ['b', 'a', 'ä', 'a.b', 'a b', '\u{1f4e6}', 'x'.repeat(255)]
    for (const name of names) writeFileSync(join(place.path, name), name)
    writeFileSync(Buffer.concat([Buffer.from(`${place.path}/`), Buffer.of(0xff, 0xfe)]), '')
    symlinkSync('nowhere', join(place.path, 'link'))
    linkSync(join(place.path, 'a'), join(place.path, 'second'))
    mkdirSync(join(place.path, 'directory'))
    utimesSync(join(place.path, 'b'), -5.5, -5.5)
    chmodSync(join(place.path, 'b'), 0o4711)
    truncateSync(join(place.path, 'b'), 2 ** 33 + 1)
    const listing = listingOf(place.fd)
    const found = Array.from({ length: listing.length }, (_, index) => listing.name(index))
    expect(found).toEqual([...found].sort(Buffer.compare))
    expect(found).toHaveLength(names.length + 4)
    for (const [index, name] of found.entries()) {
      const stat = syscalls().statx(place.fd, name)
      expect(listing.stat(index)).toEqual(stat)
      expect(listing.latin1(index)).toBe(name.toString('latin1'))
      expect(listing.mode(index)).toBe(stat.mode)
      expect(listing.size(index)).toBe(stat.size)
      expect(listing.changed(index)).toBe(stat.ctime.seconds)
      expect(listingOfOne(name, stat).bytes.equals(listing.entry(index))).toBe(true)
    }
    const namesOf = (indexes: Uint32Array) => [...indexes].map(index => `${found[index]}`)
    expect(namesOf(listing.directories)).toEqual(['directory'])
    expect(namesOf(listing.others)).toEqual(['a', 'directory', 'link', 'second'])
    const changes = found.map((_, index) => listing.changed(index))
    expect(listing.lastChange).toBe(Math.max(...changes))
    const types = typesOf(place.fd)
    expect(types.length).toBe(listing.length)
    for (let index = 0; index < types.length; index++) {
      expect(types.name(index)).toEqual(listing.name(index))
      expect(types.mode(index)).toBe(listing.mode(index) & constants.S_IFMT)
    }
    expect(listing.entries(2, 4)).toEqual(Buffer.concat([listing.entry(2), listing.entry(3)]))
  })

  it('of an empty directory is empty, and another after any change', () => {
    using place = fresh('changes')
    expect(listingOf(place.fd).length).toBe(0)
    expect(listingOf(place.fd).lastChange).toBeLessThan(0)
    const file = join(place.path, 'file')
    writeFileSync(file, 'one')
    const before = listingOf(place.fd).bytes
    expect(listingOf(place.fd).bytes.equals(before)).toBe(true)
    chmodSync(file, 0o600)
    expect(listingOf(place.fd).bytes.equals(before)).toBe(false)
  })

  it('throws for what is no directory, and for bytes that are no listing', () => {
    writeFileSync(join(directory, 'file'), '')
    const file = openSync(join(directory, 'file'), 'r')
    try {
      expect(() => listingOf(file)).toThrow('ENOTDIR')
    } finally {
      closeSync(file)
    }
    expect(() => new Listing(Buffer.alloc(96))).toThrow(RangeError)
    using place = fresh('damaged')
    writeFileSync(join(place.path, 'one'), '')
    writeFileSync(join(place.path, 'two'), '')
    const { bytes } = listingOf(place.fd)
    for (const cut of [1, 40, 88, 95, bytes.length - 1]) {
      expect(() => new Listing(bytes.subarray(0, cut))).toThrow(RangeError)
    }
    const longName = Buffer.from(bytes)
    longName.writeUInt32LE(9, 4)
    expect(() => new Listing(longName)).toThrow(RangeError)
    const moved = Buffer.concat([Buffer.of(1), bytes]).subarray(1)
    expect(new Listing(moved).stat(0)).toEqual(new Listing(bytes).stat(0))
    expect(() => listingOf(place.fd).name(2)).toThrow(RangeError)
    expect(() => listingOf(place.fd).name(-1)).toThrow(RangeError)
  })
})

describe('copyFile()', () => {
  const numbers = Float64Array.of(0o640, process.getuid?.() ?? 0, process.getgid?.() ?? 0, 7, 8, 0)
  const copy = (from: string, to: string) =>
    syscalls().copyFile([fd, Buffer.from(from)], [fd, Buffer.from(to)], numbers)

  it('copies a file with the attributes given', () => {
    writeFileSync(join(directory, 'plain'), 'x'.repeat(100_000))
    expect(copy('plain', 'copied')).toBe(copyStatus.done)
    expect(readFileSync(join(directory, 'copied'), 'latin1')).toBe('x'.repeat(100_000))
    const { mode, mtime } = syscalls().statx(fd, 'copied')
    expect([mode & 0o7777, mtime]).toEqual([0o640, { seconds: 7, nanoseconds: 8 }])
  })

  it('copies a file as it is where no mode and no owner are given', () => {
    writeFileSync(join(directory, 'as-it-is'), 'x', { mode: 0o604 })
    const own = Float64Array.of(-1, -1, -1, 0, 0, 1)
    const to = [fd, Buffer.from('same')] as const
    expect(syscalls().copyFile([fd, Buffer.from('as-it-is')], to, own)).toBe(copyStatus.done)
    const [from, copied] = ['as-it-is', 'same'].map(name => syscalls().statx(fd, name))
    expect(copied).toMatchObject({ mode: from?.mode, uid: from?.uid, mtime: from?.mtime })
  })

  it('leaves alone what is no plain file, is gone, or would be written over', () => {
    writeFileSync(join(directory, 'large'), 'x'.repeat(128 * 1024 + 1))
    writeFileSync(join(directory, 'small'), 'x')
    symlinkSync('small', join(directory, 'link'))
    mkdirSync(join(directory, 'sub'))
    writeFileSync(join(directory, 'one'), 'x')
    linkSync(join(directory, 'one'), join(directory, 'other'))
    expect(copy('large', 'new')).toBe(copyStatus.notPlain)
    expect(copy('other', 'new')).toBe(copyStatus.notPlain)
    expect(copy('sub', 'new')).toBe(copyStatus.notPlain)
    expect(copy('link', 'new')).toBe(copyStatus.gone)
    expect(copy('missing', 'new')).toBe(copyStatus.gone)
    expect(copy('small', 'large')).toBe(copyStatus.inTheWay)
    expect(syscalls().statx(fd, 'large').size).toBe(128 * 1024 + 1)
    expect(() => syscalls().statx(fd, 'new')).toThrow('ENOENT')
  })
})

describe('copyFiles()', () => {
  const owner = [process.getuid?.() ?? 0, process.getgid?.() ?? 0] as const
  const view = ({ buffer }: { readonly buffer: ArrayBuffer }) => new Uint8Array(buffer)
  const copyAll = (from: { fd: number }, toFd: number, listing: Listing) => {
    const modes = Uint32Array.from({ length: listing.length }, (_, index) =>
      listing.name(index).equals(Buffer.from('unwanted')) ? notWanted : 0o640,
    )
    const own = listing.length - 1
    if (listing.latin1(own) === 'zz-own') modes[own] = ownMode
    const numbers = view(Float64Array.of(0, ...owner, 7, 8, 0))
    return syscalls().copyFiles([from.fd, listing.bytes], toFd, view(modes), numbers)
  }

  it('copies the plain files that are wanted, and says what became of each entry', () => {
    using from = fresh('many')
    using to = fresh('copies')
    const names = Array.from({ length: 300 }, (_, index) => `file-${index}`)
    for (const name of names) writeFileSync(join(from.path, name), name.repeat(9))
    writeFileSync(join(from.path, 'unwanted'), '')
    writeFileSync(join(from.path, 'zz-gone'), '')
    writeFileSync(join(from.path, 'zz-own'), '', { mode: 0o604 })
    mkdirSync(join(from.path, 'sub'))
    writeFileSync(join(to.path, 'file-7'), 'mine')
    const listing = typesOf(from.fd)
    rmSync(join(from.path, 'zz-gone'))
    const statuses = copyAll(from, to.fd, listing)
    const expected = Array.from({ length: listing.length }, (_, index) => {
      const name = `${listing.name(index)}`
      if (name === 'unwanted') return copyStatus.notWanted
      if (name === 'zz-gone') return copyStatus.gone
      if (name === 'sub') return copyStatus.notPlain
      return name === 'file-7' ? copyStatus.inTheWay : copyStatus.done
    })
    expect([...statuses]).toEqual(expected)
    expect(listingOf(to.fd).length).toBe(names.length + 1)
    expect(syscalls().statx(to.fd, 'zz-own').mode & 0o7777).toBe(0o604)
    for (const name of names) {
      const isMine = name === 'file-7'
      expect(readFileSync(join(to.path, name), 'utf8')).toBe(isMine ? 'mine' : name.repeat(9))
      if (isMine) continue
      const { mode, mtime } = syscalls().statx(to.fd, name)
      expect([mode & 0o7777, mtime]).toEqual([0o640, { seconds: 7, nanoseconds: 8 }])
    }
  })

  it('throws what the kernel says, with the name', () => {
    using from = fresh('full')
    for (let index = 0; index < 100; index++) writeFileSync(join(from.path, `f${index}`), '')
    const listing = listingOf(from.fd)
    expect(() => copyAll(from, -1, listing)).toThrow(/EBADF.*openat 'f\d+'/)
    expect(() =>
      syscalls().copyFiles([from.fd, listing.bytes], fd, Buffer.alloc(4), Buffer.alloc(48)),
    ).toThrow('a mode for each entry')
  })
})
