import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashDiff } from '../../../src/layerfs/layer/diff.ts'
import { hashLayer } from '../../../src/layerfs/layer/hash-layer.ts'

describe('hashLayer()', () => {
  let upper: string
  beforeAll(() => {
    upper = mkdtempSync(join(tmpdir(), 'tsbuild-hash-'))
    writeFileSync(join(upper, 'large'), Buffer.alloc(20_000_000, 'x'))
  })
  afterAll(() => rmSync(upper, { recursive: true }))
  const { signal } = new AbortController()

  test('gives what hashDiff() gives, in a thread or not', async () => {
    const large = { upper, lower: [] }
    expect(await hashLayer(large, signal)).toEqual(await hashDiff(large))
    const small = { upper, lower: [upper] }
    expect(await hashLayer(small, signal)).toEqual(await hashDiff(small))
  })

  test('stops with the signal’s reason, and with the errors of a diff', async () => {
    const stopped = AbortSignal.abort(new Error('enough'))
    await expect(hashLayer({ upper, lower: [] }, stopped)).rejects.toThrow('enough')
    const missing = hashLayer({ upper: join(upper, 'none'), lower: [] }, signal)
    await expect(missing).rejects.toMatchObject({ code: 'not-found' })
  })
})
