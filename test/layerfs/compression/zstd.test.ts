import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { compressZstd } from '../../../src/layerfs/compression/compress-zstd.ts'
import {
  availableEngines,
  decompressZstd,
  type ZstdEngine,
  zstdEngines,
} from '../../../src/layerfs/compression/decompress-zstd.ts'
import { programPath } from '../../../src/layerfs/compression/through-program.ts'

const text = Buffer.from(
  Array.from({ length: 40_000 }, (_, i) => `${i} ${(i * i) % 977}\n`).join(''),
)
const noise = randomBytes(300_000)

function zstd(bytes: Uint8Array, ...args: string[]): Buffer {
  return execFileSync('zstd', ['-qc', ...args], { input: bytes, maxBuffer: 1e9 })
}

const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])

async function unpack(
  packed: Uint8Array,
  engine: ZstdEngine,
  chunkSize = packed.length,
): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of decompressZstd(cut(packed, Math.max(1, chunkSize)), engine)) {
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function* cut(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const hasProgram = programPath('zstd') !== undefined

describe.each(zstdEngines)('decompressZstd() by %s', engine => {
  const run = availableEngines().includes(engine) && hasProgram ? it : it.skip

  run.each([
    ['nothing at all', () => Buffer.alloc(0), Buffer.alloc(0)],
    ['a frame of no bytes', () => zstd(Buffer.alloc(0)), Buffer.alloc(0)],
    ['text', () => zstd(text), text],
    [
      'text without its size and checksum',
      () => zstd(text, '--no-check', '--no-content-size'),
      text,
    ],
    ['what cannot be made smaller', () => zstd(noise, '-19'), noise],
    ['a run of one byte', () => zstd(Buffer.alloc(3_000_000)), Buffer.alloc(3_000_000)],
    [
      'several frames with skippable ones before, between and behind',
      () => Buffer.concat([skippable, zstd(text), skippable, zstd(noise), skippable]),
      Buffer.concat([text, noise]),
    ],
    ['skippable frames alone', () => Buffer.concat([skippable, skippable]), Buffer.alloc(0)],
  ])('A1: unpacks %s', async (_name, packed, expected) => {
    expect((await unpack(packed(), engine)).equals(expected)).toBe(true)
  })

  run.each([1, 7, 4096])('unpacks chunks of %i bytes', async size => {
    const small = text.subarray(0, 30_000)
    const packed = Buffer.concat([skippable, zstd(small), zstd(small)])
    expect((await unpack(packed, engine, size)).equals(Buffer.concat([small, small]))).toBe(true)
  })

  run('refuses data cut short anywhere', async () => {
    const packed = Buffer.concat([zstd(text.subarray(0, 20_000)), zstd(text.subarray(0, 9000))])
    const whole = zstd(text.subarray(0, 20_000)).length
    for (let length = 1; length < packed.length; length += 97) {
      if (length === whole) continue
      await expect(unpack(packed.subarray(0, length), engine)).rejects.toMatchObject({
        code: 'invalid',
      })
    }
  })

  run('refuses other bytes behind a frame, saying so', async () => {
    const packed = Buffer.concat([zstd(text), Buffer.from('garbage')])
    await expect(unpack(packed, engine)).rejects.toThrow(
      'Cannot decompress: damaged zstd data: expected a frame, found other bytes',
    )
  })

  run('answers damaged data with an error or with other bytes, and in finite time', async () => {
    const packed = zstd(text.subarray(0, 50_000), ...(engine === 'script' ? [] : ['--check']))
    for (let at = 4; at < packed.length; at += Math.ceil(packed.length / 60)) {
      const bad = Buffer.from(packed)
      bad[at] = (bad[at] ?? 0) ^ 0x55
      const outcome = await unpack(bad, engine).catch((error: unknown) => error)
      if (outcome instanceof Buffer) {
        expect(engine === 'script' || outcome.equals(text.subarray(0, 50_000))).toBe(true)
      } else {
        expect(outcome).toMatchObject({ code: expect.stringMatching(/^(invalid|unsupported)$/) })
      }
    }
  })

  run('refuses a window of more than 128 MiB before it takes memory for it', async () => {
    // Magic, no flags, a window of 2^31 bytes, a last raw block of no bytes.
    const packed = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (31 - 10) << 3, 1, 0, 0])
    const before = process.memoryUsage().arrayBuffers
    await expect(unpack(packed, engine)).rejects.toMatchObject({
      code: 'unsupported',
      message: 'Cannot decompress: zstd data want a window of 2048 MiB, 128 MiB at most',
    })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 2 ** 20)
  })

  run('refuses data that need a dictionary', async () => {
    const packed = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 0, 1, 0, 0])
    await expect(unpack(packed, engine)).rejects.toMatchObject({ code: 'unsupported' })
  })

  run('throws what its source throws', async () => {
    const packed = zstd(noise)
    const source = (function* () {
      yield packed.subarray(0, 1000)
      throw new Error('The disk is gone')
    })()
    const read = async () => {
      for await (const _ of decompressZstd(source, engine));
    }
    await expect(read()).rejects.toThrow('The disk is gone')
  })

  run('keeps to little memory for a thousand times as much output', async () => {
    const packed = zstd(Buffer.alloc(64 * 2 ** 20))
    const hash = createHash('sha256')
    let most = 0
    const before = process.memoryUsage.rss()
    for await (const chunk of decompressZstd([packed], engine)) {
      hash.update(chunk)
      most = Math.max(most, process.memoryUsage.rss() - before)
    }
    expect(hash.digest('hex')).toBe(
      createHash('sha256')
        .update(Buffer.alloc(64 * 2 ** 20))
        .digest('hex'),
    )
    expect(most).toBeLessThan(60 * 2 ** 20)
  })
})

describe('compressZstd()', () => {
  const run = hasProgram ? it : it.skip

  run.each([undefined, 1, 22])(
    'gives what is unpacked to the same bytes, level %s',
    async level => {
      const parts: Uint8Array[] = []
      const options = level === undefined ? {} : { level }
      for await (const part of compressZstd(cut(text, 5000), options)) parts.push(part)
      const packed = Buffer.concat(parts)
      expect(packed.length).toBeLessThan(text.length / 2)
      expect((await unpack(packed, 'script')).equals(text)).toBe(true)
    },
  )

  run('throws what its source throws', async () => {
    const source = (function* () {
      yield text
      throw new Error('The disk is gone')
    })()
    const read = async () => {
      for await (const _ of compressZstd(source));
    }
    await expect(read()).rejects.toThrow('The disk is gone')
  })
})
