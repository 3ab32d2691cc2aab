import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { constants, deflateRawSync, gzipSync, inflateRawSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { gzipHeader } from '../../../src/layerfs/compression/gzip.ts'
import { readAhead } from '../../../src/layerfs/layer/read-ahead.ts'
import { nativePath } from '../../../src/layerfs/native/native-programs.ts'
import { aheadSlots, inflateWindow, syscalls } from '../../../src/layerfs/native/syscalls.ts'
import { digestOf } from '../../../src/oci/digest.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'read-ahead-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

function withFile<T>(bytes: Uint8Array, use: (fd: number) => T): T {
  const path = join(directory, 'file')
  writeFileSync(path, bytes)
  const fd = openSync(path, 'r')
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

function unpack(gzip: Uint8Array, encoding: 'gzip' | 'none' = 'gzip'): Buffer {
  return withFile(gzip, fd => {
    using ahead = readAhead(fd, encoding)
    const all = Buffer.concat(Array.from(ahead.chunks, chunk => Buffer.from(chunk)))
    expect(ahead.diffId()).toBe(digestOf(all))
    return all
  })
}

/** In pieces of `size`: what refers back reaches over many of them. */
function unpackInPieces(gzip: Uint8Array, size: number): Buffer {
  const { openAhead, nextAhead, closeAhead } = syscalls()
  const memory = Buffer.alloc(aheadSlots * (inflateWindow + size))
  return withFile(gzip, fd => {
    const ahead = openAhead(fd, true, memory, undefined)
    const parts: Buffer[] = []
    for (let slot = 0; ; slot++) {
      const length = nextAhead(ahead)
      if (typeof length === 'string') throw new Error(length)
      if (length === 0) break
      const start = (slot % aheadSlots) * (inflateWindow + size) + inflateWindow
      parts.push(Buffer.from(memory.subarray(start, start + length)))
    }
    closeAhead(ahead)
    return Buffer.concat(parts)
  })
}

const text = Buffer.from(
  Array.from({ length: 60_000 }, (_, i) => `${i * 7919} ${(i * i) % 977}\n`).join(''),
)
const noise = randomBytes(300_000)
const far = Buffer.concat([noise.subarray(0, 32_700), noise.subarray(0, 32_700), Buffer.alloc(5e5)])
const contents = { text, noise, far, empty: Buffer.alloc(0), mixed: Buffer.concat([text, noise]) }

describe('a gzip file read ahead gives the bytes that were packed', () => {
  test.each(Object.entries(contents))('%s, at every level and strategy', (_, content) => {
    const { Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED } = constants
    for (const level of [0, 1, 4, 6, 9]) {
      expect(unpack(gzipSync(content, { level })).equals(content)).toBe(true)
    }
    for (const strategy of [Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED]) {
      const gzip = gzipSync(content, { strategy, memLevel: 1, windowBits: 10 })
      expect(unpackInPieces(gzip, 1000 + strategy).equals(content)).toBe(true)
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

describe('a gzip file read ahead is refused as invalid with', () => {
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

  test('its end missing, wherever', () => {
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

test('damaged streams are what zlib says they are, and the others have the same bytes', () => {
  const valid = [1, 6, 9].map(level => deflateRawSync(contents.mixed.subarray(700_000), { level }))
  let refused = 0
  for (let seed = 1; seed <= 600; seed++) {
    const bytes = Buffer.from(valid[seed % valid.length] ?? [])
    // Half of them in the first block's header, where codes are described.
    const at = (seed * 7919) % (seed % 2 === 0 ? 120 : bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (seed % 8))
    const theirs = answerOf(bytes)
    const ours = attempt(() => unpack(asGzip(bytes, theirs)))
    if (typeof theirs !== 'string') expect(Buffer.from(ours).equals(theirs.buffer)).toBe(true)
    else {
      refused += 1
      expect(ours).toContain(refusals[theirs])
    }
  }
  expect(refused).toBeGreaterThan(100)
})

/** What zlib says, and what we do. */
const refusals: Readonly<Record<string, string>> = {
  Z_DATA_ERROR: 'its codes make no sense',
  Z_BUF_ERROR: 'it ends too early',
}

interface Inflated {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

function answerOf(deflated: Uint8Array): Inflated | string {
  try {
    return inflateRawSync(deflated, { info: true }) as unknown as Inflated
  } catch (error) {
    return (error as { code: string }).code
  }
}

/** Or why not. */
function attempt(act: () => Buffer): Buffer | string {
  try {
    return act()
  } catch (error) {
    return (error as Error).message
  }
}

/** Behind the stream's end, where zlib found it, there is a trailer. */
function asGzip(deflated: Uint8Array, answer: Inflated | string): Buffer {
  if (typeof answer === 'string') return Buffer.concat([gzipHeader, deflated])
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(answer.buffer.length, 4)
  return Buffer.concat([gzipHeader, deflated.subarray(0, answer.engine.bytesWritten), trailer])
}

test('a plain file read ahead gives its bytes, whatever their number', () => {
  const { mixed } = contents
  for (const bytes of [mixed, Buffer.concat([noise, mixed, noise, mixed, mixed, mixed])]) {
    expect(unpack(bytes, 'none').equals(bytes)).toBe(true)
  }
  expect(unpack(Buffer.alloc(0), 'none')).toHaveLength(0)
})

describe('a thread that reads ahead', () => {
  const memory = Buffer.alloc(aheadSlots * (inflateWindow + 1000))

  test('is ended when nobody wants more of it', () => {
    withFile(noise, fd => {
      const threads = () => readdirSync('/proc/self/task').length
      const before = threads()
      for (let asked = 0; asked < 6; asked++) {
        const ahead = syscalls().openAhead(fd, false, memory, syscalls().openHash('sha256'))
        expect(threads()).toBe(before + 1)
        for (let i = 0; i < asked; i++) expect(syscalls().nextAhead(ahead)).toBe(1000)
        syscalls().closeAhead(ahead)
        syscalls().closeAhead(ahead)
        expect(threads()).toBe(before)
        expect(() => syscalls().nextAhead(ahead)).toThrow('it is closed')
      }
    })
  })

  test('says again and again that the file is over', () => {
    withFile(noise.subarray(0, 1500), fd => {
      const ahead = syscalls().openAhead(fd, false, memory, undefined)
      const lengths = Array.from({ length: 9 }, () => syscalls().nextAhead(ahead))
      expect(lengths).toEqual([1000, 500, 0, 0, 0, 0, 0, 0, 0])
      syscalls().closeAhead(ahead)
    })
  })

  test('reads the file that it was given, also when the descriptor is closed', () => {
    const ahead = withFile(noise, fd => syscalls().openAhead(fd, false, memory, undefined))
    for (let i = 0; i < noise.length / 1000; i++) expect(syscalls().nextAhead(ahead)).toBe(1000)
    syscalls().closeAhead(ahead)
  })

  test('says why the file cannot be read', () => {
    const fd = openSync(directory, 'r')
    const ahead = syscalls().openAhead(fd, false, memory, undefined)
    expect(() => syscalls().nextAhead(ahead)).toThrow(expect.objectContaining({ code: 'EISDIR' }))
    syscalls().closeAhead(ahead)
    closeSync(fd)
  })

  test('has the hash to itself until it is closed', () => {
    withFile(noise, fd => {
      const { openHash, openAhead, closeAhead, updateHashNow, finishHash } = syscalls()
      const hash = openHash('sha256')
      if (hash === undefined) throw new Error('Expected a hash')
      const ahead = openAhead(fd, false, memory, hash)
      expect(() => updateHashNow(hash, noise)).toThrow('it is being updated')
      expect(() => openAhead(fd, false, memory, hash)).toThrow('it is being updated')
      closeAhead(ahead)
      expect(finishHash(hash)).toHaveLength(32)
    })
  })

  test('is refused memory without room for its windows, and a descriptor of nothing', () => {
    const { openAhead } = syscalls()
    const small = Buffer.alloc(aheadSlots * inflateWindow)
    expect(() => openAhead(0, false, small, undefined)).toThrow(RangeError)
    const bad = () => openAhead(999_999, true, memory, undefined)
    expect(bad).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => readAhead(999_999, 'gzip')).toThrow(
      expect.objectContaining({ code: 'unavailable' }),
    )
  })

  test('ends with the thread of JavaScript that started it', async () => {
    const path = join(directory, 'file')
    writeFileSync(path, noise)
    const addon = nativePath('syscalls.node')
    const program = `
      const { openAhead, openHash, nextAhead } = require(${JSON.stringify(addon)})
      const memory = Buffer.alloc(${aheadSlots * (inflateWindow + 1000)})
      const fd = require('node:fs').openSync(${JSON.stringify(path)}, 'r')
      nextAhead(openAhead(fd, false, memory, openHash('sha256')))
      require('node:worker_threads').parentPort.postMessage('begun')
      for (;;);`
    const worker = new Worker(program, { eval: true })
    await once(worker, 'message')
    expect(await worker.terminate()).toBe(1)
  })
})
