import { expect, test } from 'vitest'
import { type CachedLayer, cutoffFor, mostBytes } from '../../src/builder/cache-use.ts'
import { chainId, digestOf, parseDiffId } from '../../src/oci/digest.ts'

const layer = (second: number, bytes: number, isShared = false): CachedLayer => ({
  name: chainId(undefined, parseDiffId(digestOf(`${second}`))),
  usedAt: new Date(second * 1000),
  bytes,
  isShared,
  kind: 'step',
})

const layers = [layer(40, 10), layer(30, 1000, true), layer(20, 20), layer(10, 30)]

test.each([
  [60, 0],
  [59, 10_001],
  [30, 10_001],
  [29, 20_001],
  [10, 20_001],
  [9, 40_001],
  [0, 40_001],
])('cutoffFor() %i bytes keeps the latest that fit, not counting what is shared', (bytes, time) => {
  expect(cutoffFor(layers, bytes).getTime()).toBe(time)
})

test('cutoffFor() an empty cache forgets nothing', () => {
  expect(cutoffFor([], 0)).toEqual(new Date(0))
})

const none = { maxUsed: undefined, minFree: undefined, reserved: undefined, freeBytes: 100 }

test.each([
  ['nothing that is asked', {}, Number.POSITIVE_INFINITY],
  ['--max-used-space', { maxUsed: 40 }, 40],
  ['--min-free-space that is free already', { minFree: 100 }, 60],
  ['--min-free-space, of what it alone needs', { minFree: 125 }, 35],
  ['--min-free-space of more than there is', { minFree: 1000 }, 0],
  ['the less of the two', { minFree: 125, maxUsed: 50 }, 35],
  ['--reserved-space, whatever the others say', { minFree: 1000, maxUsed: 5, reserved: 20 }, 20],
  ['--reserved-space alone', { reserved: 20 }, 20],
])('mostBytes() leaves the cache %s', (_what, wishes, bytes) => {
  expect(mostBytes(layers, { ...none, ...wishes })).toBe(bytes)
})
