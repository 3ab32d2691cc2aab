import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type GzipOptions, gzip } from '../../../src/layerfs/compression/gzip.ts'

const blockSize = 512 * 1024

/** Compressible, and different everywhere. */
function sample(size: number): Buffer {
  const words = randomBytes(4096).toString('hex')
  let text = ''
  for (let i = 0; text.length < size; i++)
    text += `${i} ${words.slice(i % 4000, (i % 4000) + 40)}\n`
  return Buffer.from(text.slice(0, size))
}

function* cut(bytes: Buffer, size: number): Generator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += size) {
    yield bytes.subarray(offset, offset + size)
  }
}

async function compress(chunks: Iterable<Uint8Array>, options?: GzipOptions): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of gzip(chunks, options)) parts.push(part)
  return Buffer.concat(parts)
}

describe('gzip', () => {
  it.each([0, 1, 100, blockSize - 1, blockSize, blockSize + 1, 3_500_000])(
    'makes of %i bytes what `gzip -t` and gunzip accept',
    async size => {
      const bytes = sample(size)
      const zipped = await compress([bytes])
      execFileSync('gzip', ['-t'], { input: zipped })
      expect(gunzipSync(zipped).equals(bytes)).toBe(true)
    },
  )

  it('makes the same bytes for every number of threads and every way the input is cut', async () => {
    const bytes = sample(5_000_000)
    const one = await compress([bytes], { concurrency: 1 })
    for (const concurrency of [2, 4, 16]) {
      expect((await compress([bytes], { concurrency })).equals(one)).toBe(true)
    }
    for (const size of [999, 65_536, 1_000_003]) {
      expect((await compress(cut(bytes, size))).equals(one)).toBe(true)
    }
  })

  it('compresses as well as one stream does, to a part in a hundred', async () => {
    const bytes = sample(4_000_000)
    const single = execFileSync('gzip', ['-4'], { input: bytes, maxBuffer: 1 << 24 })
    expect((await compress([bytes])).length).toBeLessThan(single.length * 1.01)
  })

  it.each([0, 1, 6, 9])('takes level %i', async level => {
    const bytes = sample(1_000_000)
    expect(gunzipSync(await compress([bytes], { level })).equals(bytes)).toBe(true)
  })

  it('makes of bytes of every kind what zlib reads back', async () => {
    const kinds: Record<string, (at: number, before: Buffer) => number> = {
      'one byte': () => 0,
      'few of them': at => (at * 7919) & 3,
      'ever rarer ones': () => Math.floor(-Math.log2(1 - Math.random())),
      'near repeats': (at, before) =>
        at % 97 < 90 && at > 300 ? (before[at - 300] ?? 0) : at & 255,
      'far repeats': (at, before) =>
        at > 32_768 && at % 50 > 0 ? (before[at - 32_768] ?? 0) : Math.random() * 256,
      'noise and words': at => (at % 900 < 300 ? Math.random() * 256 : 97 + ((at * at) % 23)),
    }
    for (const [kind, byteAt] of Object.entries(kinds)) {
      for (const size of [3, 4, 259, 70_000, blockSize + 40_000]) {
        const bytes = Buffer.alloc(size)
        for (let at = 0; at < size; at++) bytes[at] = byteAt(at, bytes)
        const isSame = gunzipSync(await compress([bytes])).equals(bytes)
        expect({ kind, size, isSame }).toEqual({ kind, size, isSame: true })
      }
    }
  })

  it('keeps incompressible bytes', async () => {
    const bytes = randomBytes(1_500_000)
    expect(gunzipSync(await compress([bytes])).equals(bytes)).toBe(true)
  })

  it('has a header without time, name or system', async () => {
    const zipped = await compress([Buffer.from('x')])
    expect(zipped.subarray(0, 10).toString('hex')).toBe('1f8b08000000000000ff')
  })

  it('passes on the failure of its source', async () => {
    function* broken(): Generator<Uint8Array> {
      yield Buffer.alloc(3 * blockSize)
      throw new Error('disk failed')
    }
    await expect(compress(broken())).rejects.toThrow('disk failed')
  })

  it('takes no more of its source than it has threads for', async () => {
    let taken = 0
    function* counted(): Generator<Uint8Array> {
      for (; taken < 100; taken++) yield Buffer.alloc(blockSize)
    }
    const output = gzip(counted(), { concurrency: 3 })
    await output.next()
    await output.next()
    expect(taken).toBeLessThanOrEqual(4)
    await output.return(undefined)
  })
})
