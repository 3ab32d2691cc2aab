import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { SharedBytes } from '../../../../src/registry/server/upstream/shared-bytes.ts'
import type { ObjectRange } from '../../../../src/registry/storage/object-store.ts'

const size = 12 * 1024 * 1024
const all = randomBytes(size)
const piece = 64 * 1024

async function* pieces(until = size) {
  for (let at = 0; at < until; at += piece) yield all.subarray(at, Math.min(until, at + piece))
}

async function* stored({ start, end }: ObjectRange) {
  yield all.subarray(start, end)
}

async function collect(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytes) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function drain(bytes: AsyncIterable<Uint8Array>, pauseMs = 0): Promise<void> {
  for await (const _ of bytes) if (pauseMs > 0) await sleep(pauseMs)
}

test('gives all readers all bytes: those from the start, the late, the slow, and those of a part', async () => {
  const shared = new SharedBytes(size)
  const first = collect(shared.read({ start: 0, end: size }))
  const part = collect(shared.read({ start: 5_000_000, end: 5_000_100 }))
  const slow = shared.read({ start: 0, end: size })
  const beginning = await Promise.all([slow.next(), drain(shared.passing(pieces()))])
  const late = collect(shared.read({ start: 0, end: size }))
  shared.finish(stored)
  const rest = await collect(slow)
  expect(Buffer.concat([beginning[0].value as Uint8Array, rest]).equals(all)).toBe(true)
  expect((await first).equals(all)).toBe(true)
  expect((await late).equals(all)).toBe(true)
  expect((await part).equals(all.subarray(5_000_000, 5_000_100))).toBe(true)
})

test('gives the late what is stored already, where that can be opened', async () => {
  const shared = new SharedBytes(size)
  await drain(shared.passing(pieces(8 * 1024 * 1024)))
  shared.canOpen(8 * 1024 * 1024, stored)
  const late = shared.read({ start: 0, end: 8 * 1024 * 1024 })
  expect((await collect(late)).equals(all.subarray(0, 8 * 1024 * 1024))).toBe(true)
})

test('keeps the last byte back until all is stored, and breaks off when it is not', async () => {
  const shared = new SharedBytes(100)
  const bytes = all.subarray(0, 100)
  await drain(shared.passing([bytes] as unknown as AsyncIterable<Uint8Array>))
  const got: Uint8Array[] = []
  const reading = (async () => {
    for await (const chunk of shared.read({ start: 0, end: 100 })) got.push(chunk)
  })()
  await sleep(10)
  expect(Buffer.concat(got).equals(bytes.subarray(0, 99))).toBe(true)
  shared.fail(new Error('torn'))
  await expect(reading).rejects.toThrow('torn')
})
