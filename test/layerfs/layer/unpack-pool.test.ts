import { randomBytes } from 'node:crypto'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as fromSource from '../../../src/layerfs/layer/unpack-pool.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import { type Compiled, compileSources } from '../../support/compiled.ts'
import { diffIdOf, type EntryDraft, file, hardlink, tarOf } from './layer-support.ts'

let compiled: Compiled
let threaded: typeof fromSource
let base: string

beforeAll(async () => {
  compiled = compileSources()
  threaded = await import(join(compiled.dist, 'layerfs/layer/unpack-pool.js'))
  base = mkdtempSync(join(tmpdir(), 'unpack-pool-'))
}, 60_000)
afterAll(() => {
  compiled[Symbol.dispose]()
  rmSync(base, { recursive: true, force: true })
})

let count = 0
function staged(drafts: readonly EntryDraft[], lower: () => Promise<string[]> = async () => []) {
  const tar = tarOf(drafts)
  return stagedBlob(tar, { bytes: gzipSync(tar), lower })
}

function stagedBlob(
  tar: Buffer,
  { bytes, lower }: { readonly bytes: Buffer; readonly lower: () => Promise<string[]> },
) {
  count += 1
  const blob = join(base, `blob${count}`)
  const target = join(base, `layer${count}`)
  writeFileSync(blob, bytes)
  mkdirSync(target)
  const expected = { digest: digestOf(bytes), size: bytes.length, diffId: diffIdOf(tar) }
  return { blob, target, lower, expected }
}

describe.each([
  ['in threads', () => threaded],
  ['in its own thread', () => fromSource],
])('UnpackPool.apply() %s', (_, code) => {
  test('applies many layers side by side, lower ones being waited for only when they matter', async () => {
    await using pool = code().openUnpackPool(2)
    const first = staged([file('f', 'low')])
    let release: (() => void) | undefined
    const applied = new Promise<void>(resolve => {
      release = resolve
    })
    const later = Array.from({ length: 5 }, (_, index) =>
      pool.apply(
        staged([hardlink(`h${index}`, 'f')], async () => {
          await applied
          return [first.target]
        }),
      ),
    )
    await pool.apply(first)
    release?.()
    expect((await Promise.all(later)).map(layer => layer.entries)).toEqual([1, 1, 1, 1, 1])
  })

  test('throws the errors of applyLayer() with their codes, and works on', async () => {
    await using pool = code().openUnpackPool(1)
    const wrong = staged([file('f')])
    const bad = { ...wrong, expected: { ...wrong.expected, diffId: diffIdOf(Buffer.from('x')) } }
    const error = await pool.apply(bad).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ name: 'OciError', code: 'digest-mismatch' })
    if (code() === fromSource) expect(error).toBeInstanceOf(OciError)
    await pool.apply(staged([file('g')]))
  })

  test('does nothing more once the signal aborts', async () => {
    await using pool = code().openUnpackPool(1)
    const reason = new Error('enough')
    const layer = staged([file('f')])
    await expect(pool.apply({ ...layer, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(readdirSync(layer.target)).toEqual([])
  })
})

describe.each([
  ['plain', (tar: Buffer) => tar],
  ['packed', (tar: Buffer) => gzipSync(tar, { level: 1 })],
])('UnpackPool reads a large %s layer ahead in another thread', (_, pack) => {
  const contents = Array.from({ length: 40 }, (_, index) => randomBytes(400_000 + 13_331 * index))
  const large = () => {
    const tar = tarOf(contents.map((content, i) => file(`f${i}`, content)))
    return stagedBlob(tar, { bytes: pack(tar), lower: async () => [] })
  }

  test('and writes the same files, of one layer after the other', async () => {
    await using pool = threaded.openUnpackPool(1)
    for (let round = 0; round < 2; round++) {
      const layer = large()
      expect((await pool.apply(layer)).diffId).toBe(layer.expected.diffId)
      contents.forEach((content, i) => {
        expect(readFileSync(join(layer.target, `f${i}`)).equals(content)).toBe(true)
      })
    }
  })

  test('and refuses one with a byte changed, or cut short, and works on', async () => {
    await using pool = threaded.openUnpackPool(1)
    const changed = large()
    const fd = openSync(changed.blob, 'r+')
    const byte = Buffer.alloc(1)
    readSync(fd, byte, 0, 1, 9_000_000)
    writeSync(fd, Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, 9_000_000)
    closeSync(fd)
    await expect(pool.apply(changed)).rejects.toMatchObject({ code: 'digest-mismatch' })
    const cut = large()
    truncateSync(cut.blob, cut.expected.size - 1_000_000)
    await expect(pool.apply(cut)).rejects.toMatchObject({ code: 'digest-mismatch' })
    expect((await pool.apply(large())).entries).toBe(40)
  })
})

test('UnpackPool writes nothing more once it says that it was aborted in the middle of a layer', async () => {
  await using pool = threaded.openUnpackPool(1)
  const many = staged(Array.from({ length: 30_000 }, (_, index) => file(`f${index}`)))
  const stop = new AbortController()
  const applying = pool.apply({ ...many, signal: stop.signal })
  setTimeout(() => stop.abort(), 150)
  await expect(applying).rejects.toMatchObject({ name: 'AbortError' })
  const left = readdirSync(many.target).length
  expect(left).toBeLessThan(30_000)
  await pool.apply(staged([file('after')]))
  expect(readdirSync(many.target).length).toBe(left)
})
