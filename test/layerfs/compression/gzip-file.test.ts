import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { constants, deflateRawSync, gzipSync, inflateRawSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { GzipFile } from '../../../src/layerfs/compression/gzip-file.ts'
import { inflateStatus, inflateWindow, syscalls } from '../../../src/layerfs/native/syscalls.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'gzip-file-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

/** In pieces of `size`, into the same memory each time. */
function unpack(gzip: Uint8Array, size = 64 * 1024): Buffer {
  const path = join(directory, 'gz')
  writeFileSync(path, gzip)
  const fd = openSync(path, 'r')
  try {
    const file = new GzipFile(fd)
    const memory = new Uint8Array(inflateWindow + size)
    const parts: Buffer[] = []
    for (let length = file.read(memory); length > 0; length = file.read(memory)) {
      parts.push(Buffer.from(memory.slice(inflateWindow, inflateWindow + length)))
    }
    return Buffer.concat(parts)
  } finally {
    closeSync(fd)
  }
}

const text = Buffer.from(
  Array.from({ length: 60_000 }, (_, i) => `${i * 7919} ${(i * i) % 977}\n`).join(''),
)
const noise = randomBytes(300_000)
const far = Buffer.concat([noise.subarray(0, 32_700), noise.subarray(0, 32_700), Buffer.alloc(5e5)])
const contents = { text, noise, far, empty: Buffer.alloc(0), mixed: Buffer.concat([text, noise]) }

describe('GzipFile gives the bytes that were packed', () => {
  test.each(Object.entries(contents))('%s, at every level and strategy', (_, content) => {
    const { Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED } = constants
    for (const level of [0, 1, 4, 6, 9]) {
      expect(unpack(gzipSync(content, { level })).equals(content)).toBe(true)
    }
    for (const strategy of [Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED]) {
      const gzip = gzipSync(content, { strategy, memLevel: 1, windowBits: 10 })
      expect(unpack(gzip, 1000 + strategy).equals(content)).toBe(true)
    }
  })

  test('of several members, with names, comments, extra fields, and zeros behind them', () => {
    const raw = deflateRawSync(text)
    const size = Buffer.alloc(4)
    size.writeUInt32LE(text.length)
    const long = Buffer.alloc(9000, 'n')
    const odd = Buffer.concat([
      Buffer.from([0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 3, 0, 1, 2, 3]),
      ...[long, Buffer.from([0]), Buffer.from('comment\0'), Buffer.from([9, 9])],
      ...[raw, Buffer.alloc(4), size],
    ])
    const all = Buffer.concat([gzipSync(noise), odd, gzipSync(Buffer.alloc(0)), Buffer.alloc(700)])
    expect(unpack(all).equals(Buffer.concat([noise, text]))).toBe(true)
  })
})

describe('GzipFile refuses as invalid', () => {
  const good = gzipSync(text.subarray(0, 3000))
  const cases: [string, Buffer][] = [
    ['garbage behind it', Buffer.concat([good, Buffer.from('x')])],
    ['another method', Buffer.concat([good.subarray(0, 2), Buffer.from([7]), good.subarray(3)])],
    [
      'flags nobody knows',
      Buffer.concat([good.subarray(0, 3), Buffer.from([32]), good.subarray(4)]),
    ],
    ['another size', Buffer.concat([good.subarray(0, -1), Buffer.from([1])])],
  ]
  test.each(cases)('%s', (_, gzip) => {
    expect(() => unpack(gzip)).toThrow(expect.objectContaining({ code: 'invalid' }))
  })

  test('a file that is cut short, wherever', () => {
    for (let length = 2; length < good.length; length += length < 40 ? 1 : 37) {
      expect(() => unpack(good.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'invalid' }),
      )
    }
  })

  test('a match that reaches back before the member, into the one before', () => {
    // A fixed block: a match of three bytes at distance one, and the end.
    const reaching = Buffer.from([0x03, 0x02, 0x00])
    expect(() => inflateRawSync(reaching)).toThrow()
    const header = gzipSync('').subarray(0, 10)
    const member = Buffer.concat([header, reaching, Buffer.from([0, 0, 0, 0, 3, 0, 0, 0])])
    expect(() => unpack(Buffer.concat([good, member]))).toThrow(
      expect.objectContaining({ code: 'invalid' }),
    )
  })
})

test('inflate says of damaged streams what zlib says, and gives the same bytes of the others', () => {
  const valid = [1, 6, 9].map(level => deflateRawSync(contents.mixed.subarray(700_000), { level }))
  let refused = 0
  for (let seed = 1; seed <= 600; seed++) {
    const bytes = Buffer.from(valid[seed % valid.length] ?? [])
    // Half of them in the first block's header, where codes are described.
    const at = (seed * 7919) % (seed % 2 === 0 ? 120 : bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (seed % 8))
    const theirs = attempt(() => inflateRawSync(bytes))
    const ours = attempt(() => inflateAll(bytes))
    if (theirs === undefined) refused += 1
    expect(ours?.equals(theirs ?? Buffer.from('refused')) ?? theirs === undefined).toBe(true)
  }
  expect(refused).toBeGreaterThan(100)
})

function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}

/** At once. Throws what is damaged or cut short. */
function inflateAll(bytes: Uint8Array): Buffer {
  const output = Buffer.alloc(4_000_000)
  const places = new Uint32Array(2)
  const status = syscalls().inflate(syscalls().newInflater(), [bytes, output], places)
  if (status !== inflateStatus.ended) throw new Error(`Status ${status}`)
  return output.subarray(0, places[1])
}

test('inflate refuses places outside its buffers, and what is no inflater', () => {
  const bytes = deflateRawSync('x')
  const attempts: [Uint8Array, Uint32Array][] = [
    [syscalls().newInflater(), Uint32Array.of(bytes.length + 1, 0)],
    [syscalls().newInflater(), Uint32Array.of(0, 11)],
    [syscalls().newInflater(), Uint32Array.of(0)],
    [new Uint8Array(100), new Uint32Array(2)],
  ]
  for (const [inflater, places] of attempts) {
    expect(() => syscalls().inflate(inflater, [bytes, new Uint8Array(10)], places)).toThrow(
      TypeError,
    )
  }
})
