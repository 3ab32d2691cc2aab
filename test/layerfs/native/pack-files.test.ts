import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { listingOf, listingOfOne } from '../../../src/layerfs/native/listing.ts'
import { syscalls } from '../../../src/layerfs/native/syscalls.ts'
import type { TarEntry } from '../../../src/layerfs/tar/entry.ts'
import { encodeEntry } from '../../../src/layerfs/tar/writer.ts'

const block = 512

function entryOf(path: Buffer, stat: { [Key in 'mode' | 'uid' | 'gid' | 'size']: number }) {
  return {
    ...stat,
    type: 'file',
    path,
    linkPath: Buffer.alloc(0),
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
  } as const
}

/** Rarely: what one header cannot say. */
const letters = fc.oneof({ weight: 200, arbitrary: fc.constantFrom(...'abcd/') }, fc.constant('é'))
const path = fc
  .array(letters, { minLength: 1, maxLength: 300 })
  .map(all => all.join('').replace(/^\/+|\/+$|\/(?=\/)/g, ''))
  .filter(text => text !== '')
const id = fc.oneof(fc.nat(70_000), fc.constantFrom(0o7777777, 0o7777777 + 1, 2 ** 32 - 1))
const time = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 31 }),
  fc.constantFrom(-1, 8 ** 11 - 1, 8 ** 11),
)

describe('tarHeaders()', () => {
  test('gives the header of the writer, and none where that writes more than one block', () => {
    const file = { mode: fc.nat(0o7777), uid: id, gid: id, size: fc.nat(3000), seconds: time }
    const latest = fc.constantFrom(0, 1_000_000_000, Number.MAX_SAFE_INTEGER)
    fc.assert(
      fc.property(path, fc.record(file), latest, (text, { seconds, ...stat }, most) => {
        const bytes = Buffer.from(text)
        const slash = bytes.lastIndexOf('/') + 1
        const { bytes: listing } = listingOfOne(bytes.subarray(slash), {
          ...stat,
          mode: 0o100000 | stat.mode,
          links: 1,
          ino: 1n,
          blocks: 8,
          devMajor: 0,
          devMinor: 0,
          rdevMajor: 0,
          rdevMinor: 0,
          mtime: { seconds, nanoseconds: 5 },
          ctime: { seconds: 0, nanoseconds: 0 },
        })
        const output = Buffer.alloc(4096, 'x')
        const starts = syscalls().tarHeaders(listing, bytes.subarray(0, slash), most, output)
        const entry: TarEntry = {
          ...entryOf(bytes, stat),
          mtime: { seconds: Math.min(seconds, most), nanoseconds: 0 },
        }
        const expected = encodeEntry(entry)
        // A time that only the clamp makes fit is left to the writer, too.
        if (expected.length > block || seconds >= 8 ** 11) {
          expect([...starts]).toEqual([0])
          return
        }
        const end = block + Math.ceil(stat.size / block) * block
        expect([...starts]).toEqual([block, end])
        expect(output.subarray(0, block).equals(expected)).toBe(true)
        expect(output.subarray(block + stat.size, end).every(byte => byte === 0)).toBe(true)
        expect(output.subarray(end).every(byte => byte === 0x78)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})

describe('tarHeaders() and readFiles()', () => {
  let directory = ''
  let fd = -1
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-pack-'))
    fd = openSync(directory, 'r')
  })
  afterEach(() => {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  })
  const at = (name: string) => join(directory, name)
  const none = Buffer.alloc(0)
  const headers = (entries: Buffer, output: Buffer) =>
    syscalls().tarHeaders(entries, none, Number.MAX_SAFE_INTEGER, output)

  test('fill a piece of a tar, by several threads', () => {
    for (let i = 100; i < 400; i++) writeFileSync(at(`${i}`), `${i}`.repeat(i))
    const listing = listingOf(fd)
    const output = Buffer.alloc(1024 * 1024)
    const starts = headers(listing.bytes, output)
    expect(starts).toHaveLength(301)
    expect(syscalls().readFiles([fd, listing.bytes], starts, output)).toBe(true)
    for (const [index, start] of [...starts.subarray(0, -1)].entries()) {
      const text = `${100 + index}`.repeat(100 + index)
      expect(output.toString('latin1', start, start + text.length)).toBe(text)
    }
  })

  test('end where the room ends, and where something else than a file comes', () => {
    for (const name of ['a', 'b', 'd']) writeFileSync(at(name), 'x'.repeat(600))
    mkdirSync(at('c'))
    const { bytes } = listingOf(fd)
    const each = 3 * block
    expect([...headers(bytes, Buffer.alloc(10 * each))]).toEqual([block, each + block, 2 * each])
    expect([...headers(bytes, Buffer.alloc(2 * each - 1))]).toEqual([block, each])
    expect([...headers(bytes, none)]).toEqual([0])
    expect([...headers(bytes.subarray(0, 50), Buffer.alloc(each))]).toEqual([0])
  })

  test('say when a file is not as it was listed', () => {
    const changes: Record<string, (path: string) => void> = {
      shorter: path => truncateSync(path, 3),
      longer: path => writeFileSync(path, 'x'.repeat(700)),
      gone: unlinkSync,
      'a link': path => {
        unlinkSync(path)
        symlinkSync('b', path)
      },
    }
    for (const [what, change] of Object.entries(changes)) {
      for (const name of ['a', 'b', 'c']) writeFileSync(at(name), 'x'.repeat(600))
      const { bytes } = listingOf(fd)
      const output = Buffer.alloc(10_000)
      const starts = headers(bytes, output)
      expect(syscalls().readFiles([fd, bytes], starts, output)).toBe(true)
      change(at('b'))
      expect(syscalls().readFiles([fd, bytes], starts, output), what).toBe(false)
      rmSync(at('b'), { force: true })
    }
  })

  test('read nothing to where there is no room', () => {
    writeFileSync(at('a'), 'x'.repeat(600))
    const { bytes } = listingOf(fd)
    const small = Buffer.alloc(1000, 'y')
    for (const start of [block, 999, 2 ** 32 - 1]) {
      const starts = Uint32Array.of(start, start + 600)
      expect(syscalls().readFiles([fd, bytes], starts, small)).toBe(false)
    }
    expect(syscalls().readFiles([fd, bytes], Uint32Array.of(0, 600, 600), small)).toBe(false)
    expect(() => syscalls().readFiles([fd, bytes], Uint32Array.of(), small)).toThrow(TypeError)
    expect(small.every(byte => byte === 0x79)).toBe(true)
  })
})
