import { createHash } from 'node:crypto'
import {
  closeSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { bodyDigest } from '../../../src/builder/steps/body-digest.ts'
import { syscalls } from '../../../src/layerfs/native/syscalls.ts'

const directory = mkdtempSync(join(tmpdir(), 'body-digest-'))
afterAll(() => rmSync(directory, { recursive: true }))

async function digestOfFile(path: string): Promise<string> {
  const fd = openSync(path, 'r')
  try {
    return await bodyDigest(fd, syscalls().statx(fd, ''), new AbortController().signal)
  } finally {
    closeSync(fd)
  }
}

/** A file of `size` bytes with `text` at each of `places`. */
function sparse(name: string, size: number, places: Readonly<Record<number, string>>): string {
  const path = join(directory, name)
  writeFileSync(path, '')
  truncateSync(path, size)
  const fd = openSync(path, 'r+')
  for (const [at, text] of Object.entries(places)) writeSync(fd, text, Number(at))
  closeSync(fd)
  return path
}

const gib = 2 ** 30

describe('bodyDigest()', () => {
  it.each([0, 1, 5000, 3_000_000])('is the SHA-256 of a file of %i bytes', async size => {
    const path = join(directory, `plain${size}`)
    writeFileSync(path, Buffer.alloc(size, 'x'))
    const expected = createHash('sha256').update(Buffer.alloc(size, 'x')).digest('hex')
    expect(await digestOfFile(path)).toBe(expected)
  })

  it('tells no small hole from zeros, wherever it is', async () => {
    const size = 3 * 2 ** 20
    const expected = createHash('sha256').update(Buffer.alloc(size)).digest('hex')
    expect(await digestOfFile(sparse('empty', size, {}))).toBe(expected)
    const bytes = Buffer.alloc(size)
    bytes.write('x', 2 ** 20)
    const path = sparse('middle', size, { [2 ** 20]: 'x' })
    expect(await digestOfFile(path)).toBe(createHash('sha256').update(bytes).digest('hex'))
  })

  it('reads no large hole, and tells where the rest is', async () => {
    const one = await digestOfFile(sparse('one', 60 * gib, { 0: 'a', [30 * gib]: 'b' }))
    const two = await digestOfFile(sparse('two', 60 * gib, { 0: 'a', [40 * gib]: 'b' }))
    const again = await digestOfFile(sparse('again', 60 * gib, { 0: 'a', [30 * gib]: 'b' }))
    expect(two).not.toBe(one)
    expect(again).toBe(one)
  })

  it('refuses holes that a layer would have to fill', async () => {
    const path = sparse('terabyte', 1024 * gib, {})
    await expect(digestOfFile(path)).rejects.toMatchObject({ code: 'too-large' })
  })

  it('refuses a file that does not tell its size', async () => {
    await expect(digestOfFile('/proc/self/status')).rejects.toMatchObject({ code: 'unsupported' })
  })
})
