import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { cacheKeeper, cacheLimits } from '../../src/builder/cache-limit.ts'
import { openStore, type Store } from '../../src/layerfs/store.ts'
import { type ChainId, hexOf } from '../../src/oci/digest.ts'
import { layerNamed } from '../layerfs/snapshot/snapshotter.contract.ts'

let root: string
let store: Store

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'cache-limit-'))
  store = await openStore(root)
})

afterEach(async () => {
  await store[Symbol.asyncDispose]()
  // Marks may still be written in the background (durability.ts).
  await rm(root, { recursive: true, maxRetries: 20 })
})

const kilobyte = 1024

/** The result of a step that was used so many hours ago, of a hundred kilobytes. */
async function remember(text: string, hours: number): Promise<ChainId> {
  await using layer = await store.snapshots.stage()
  await writeFile(join(layer.upper, text), Buffer.alloc(100 * kilobyte, 1))
  const info = layerNamed(text)
  await store.snapshots.commit(layer, info)
  const hex = hexOf(info.name)
  await store.records.put('step', hex, { layers: [info.diffId], parts: {} })
  const usedAt = new Date(Date.now() - hours * 3_600_000)
  await utimes(join(root, 'records/step', `${hex}.json`), usedAt, usedAt)
  return info.name
}

async function present(): Promise<ChainId[]> {
  const names: ChainId[] = []
  for await (const { name } of store.snapshots.list()) names.push(name)
  return names.sort()
}

test('what was not used for longest goes before a build, as far as the limit demands', async () => {
  await remember('oldest', 3)
  const old = await remember('old', 2)
  const young = await remember('young', 1)
  await cacheKeeper(store, { maxUsed: 250 * kilobyte }).keep('before')
  expect(await present()).toEqual([old, young].sort())
})

test('without a limit of the user’s a small cache stays as it is', async () => {
  const name = await remember('old', 2000)
  await cacheKeeper(store, { maxUsed: undefined }).keep('before')
  expect(await present()).toEqual([name])
})

test('a build that adds nothing does not look again, one with another limit does', async () => {
  await cacheKeeper(store, { maxUsed: 0 }).keep('before')
  const name = await remember('old', 1)
  const same = cacheKeeper(store, { maxUsed: 0 })
  await same.keep('before')
  await same.keep('after')
  expect(await present()).toEqual([name])
  await cacheKeeper(store, { maxUsed: 1 }).keep('before')
  expect(await present()).toEqual([])
})

test('a build that failed makes the next one look, one that ended well looks itself', async () => {
  await cacheKeeper(store, { maxUsed: 0 }).keep('before')
  const keeper = cacheKeeper(store, { maxUsed: 0 })
  keeper.grown()
  await remember('one', 1)
  await keeper.keep('after')
  expect(await present()).toEqual([])
  keeper.grown()
  await remember('two', 1)
  const failed = cacheKeeper(store, { maxUsed: 0 })
  failed.grown()
  await failed.keep('after')
  expect(await present()).toEqual([])
})

test('while another process builds all goes that it does not use', async () => {
  await remember('old', 2)
  const used = await remember('used', 1)
  await using other = await openStore(root)
  expect(await other.snapshots.find(used)).toBeDefined()
  await cacheKeeper(store, { maxUsed: 0 }).keep('before')
  expect(await present()).toEqual([used])
  other.letGo()
  await store.records.remove('limit', '00')
  await cacheKeeper(store, { maxUsed: 0 }).keep('before')
  expect(await present()).toEqual([])
})

test('a layer is measured once', async () => {
  const name = await remember('one', 1)
  const bytes = await store.snapshots.bytesOf(name)
  expect(bytes).toBeGreaterThanOrEqual(100 * kilobyte)
  const [path = ''] = await store.snapshots.layers(name)
  await rm(join(path, 'one'))
  expect(await store.snapshots.bytesOf(name)).toBe(bytes)
})

test('a build that goes on keeps what it found, and all below it', async () => {
  await remember('gone', 1)
  const base = await remember('base', 1)
  const top = layerNamed('top', base)
  {
    await using layer = await store.snapshots.stage()
    await store.snapshots.commit(layer, top)
  }
  store.letGo()
  await store.snapshots.find(top.name)
  await store.collect(async ({ snapshots }) => {
    await store.snapshots.prune(snapshots)
  })
  expect(await present()).toEqual([base, top.name].sort())
})

test('the limits are BuildKit’s, and what is reserved is no more than the user allows', () => {
  const terabyte = 1e12
  expect(cacheLimits(terabyte)).toEqual({ maxUsed: 100e9, minFree: 200e9, reserved: 10e9 })
  expect(cacheLimits(50e9)).toEqual({ maxUsed: 40e9, minFree: 10e9, reserved: 5e9 })
  expect(cacheLimits(terabyte, 1e9)).toMatchObject({ maxUsed: 1e9, reserved: 1e9 })
})
