import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeCacheConfig,
  decodeInlineRecords,
  encodeCacheConfig,
  encodeInlineRecords,
} from '../../../src/builder/cache/cache-config.ts'
import type { CacheKey } from '../../../src/builder/solve/graph.ts'
import { digestOf, parseDiffId } from '../../../src/oci/digest.ts'
import { hasCode } from '../../../src/oci/errors.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'

const key = (name: string) => digestOf(name) as CacheKey
const layer = (name: string) => ({
  diffId: parseDiffId(digestOf(`tar ${name}`)),
  descriptor: { mediaType: mediaTypes.layerGzip, digest: digestOf(name), size: name.length },
})
const [a, b, c] = [layer('a'), layer('b'), layer('c')]
const created = '2026-01-02T03:04:05.000Z'
const results = [
  { key: key('two'), layers: [a, b], created },
  { key: key('one'), layers: [a] },
  { key: key('other'), layers: [c, b] },
]
const mounts = [{ id: 'go', mode: 0o755, uid: 1, gid: 2, ...c }]
const memo = new Map([['00ff', { 'file a': 'x' }]])
const encode = () => encodeCacheConfig({ results, memo, mounts })
const decodeJson = (value: unknown) => decodeCacheConfig(Buffer.from(JSON.stringify(value)))
const row = (parent: number) => ({
  blob: a.descriptor.digest,
  parent,
  annotations: { mediaType: 'x', diffID: a.diffId, size: 1 },
})

describe('the document of a cache', () => {
  test('gives back each result, question and mount', () => {
    const index = decodeCacheConfig(encode())
    for (const { key: name, ...result } of results) expect(index.find(name)).toEqual(result)
    expect(index.find(key('none'))).toBeUndefined()
    expect(index.memo).toEqual(memo)
    expect(index.mounts).toEqual(mounts)
  })

  test('has the same bytes in whatever order results come', () => {
    const turned = encodeCacheConfig({ results: results.toReversed(), memo, mounts })
    expect(Buffer.from(turned).equals(encode())).toBe(true)
  })

  test('of an image has the image’s layers', () => {
    const records = encodeInlineRecords(results.slice(0, 2))
    const index = decodeInlineRecords(records, [a, b, c])
    expect(index.find(key('one'))).toEqual({ layers: [a] })
    expect(index.find(key('two'))).toEqual({ layers: [a, b], created })
  })

  test('Go leaves out a parent that is 0', () => {
    const { parent: _, ...onFirst } = row(0)
    const records = [{ digest: key('one'), layers: [{ layer: 1 }] }]
    expect(
      decodeJson({ layers: [row(-1), onFirst], records }).find(key('one'))?.layers,
    ).toHaveLength(2)
  })

  test.each([
    ['parents that go round in a circle', [row(1), row(0)]],
    ['a parent that is not there', [row(7)]],
    ['a layer without its diff ID', [{ blob: a.descriptor.digest, parent: -1 }]],
    ['a digest that is none', [{ ...row(-1), blob: '../../etc/passwd' }]],
    ['no layers', []],
  ])('a record is absent that has %s', (_, layers) => {
    const records = [{ digest: key('one'), layers: [{ layer: 0 }] }]
    expect(decodeJson({ layers, records }).find(key('one'))).toBeUndefined()
  })

  test('a time that is none is left out', () => {
    const records = [{ digest: key('one'), layers: [{ layer: 0, createdAt: 'yesterday' }] }]
    expect(decodeJson({ layers: [row(-1)], records }).find(key('one'))).not.toHaveProperty(
      'created',
    )
  })

  test('BuildKit’s own records, which have inputs, are read and never found', () => {
    const records = [{ digest: key('x'), inputs: [[{ link: 0 }]], layers: [] }]
    expect(decodeJson({ layers: [row(-1)], records }).find(key('x'))).toBeUndefined()
  })

  test('more than anybody has is refused', () => {
    const error = catching(() => decodeJson({ records: Array(100_001).fill(0) }))
    expect(hasCode(error, 'too-large')).toBe(true)
  })

  test('any JSON is read or refused as invalid', () => {
    fc.assert(
      fc.property(fc.json(), text => {
        const error = catching(() => decodeCacheConfig(Buffer.from(text)).find(key('one')))
        return error === undefined || hasCode(error, 'invalid')
      }),
    )
  })
})

function catching(action: () => unknown): unknown {
  try {
    action()
    return undefined
  } catch (error) {
    return error
  }
}
