import { describe, expect, it } from 'vitest'
import {
  parseByteRange,
  parseChunkRange,
  receivedRange,
} from '../../../src/registry/server/byte-range.ts'

describe('parseByteRange()', () => {
  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=500-1499', 500, 1500],
    ['bytes=500-', 500, 2048],
    ['bytes=-500', 1548, 2048],
    ['bytes=-5000', 0, 2048],
    ['bytes=2000-5000', 2000, 2048],
    ['bytes=0-9999999999999999999', 0, 2048],
  ])('reads %s', (header, start, end) => {
    expect(parseByteRange(header, 2048)).toEqual({ kind: 'part', range: { start, end } })
  })

  it.each([
    'bytes=500-0',
    'bytes=5000-10000',
    'bytes=2048-',
    'bytes=-0',
    'bytes=9999999999999999999-',
  ])('cannot satisfy %s', header => {
    expect(parseByteRange(header, 2048).kind).toBe('unsatisfiable')
  })

  it.each([
    undefined,
    '',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=0x10-20',
    'bytes=-5-10',
    'bytes=1-2,3-4',
    `bytes=${Array.from({ length: 1000 }, () => '0-').join(',')}`,
    'items=0-1',
    'bytes 0-1',
    'bytes=99999999999999999999-',
  ])('gives the whole for %j', header => {
    expect(parseByteRange(header, 2048).kind).toBe('whole')
  })

  it('has nothing to give of an empty blob', () => {
    expect(parseByteRange('bytes=0-', 0).kind).toBe('unsatisfiable')
    expect(parseByteRange('bytes=-1', 0).kind).toBe('unsatisfiable')
  })
})

describe('parseChunkRange()', () => {
  it('reads first and last, inclusive', () => {
    expect(parseChunkRange('0-9')).toEqual({ first: 0, last: 9 })
    expect(parseChunkRange(undefined)).toBeUndefined()
  })

  it.each([
    '0-',
    '-5',
    '5-3',
    'bytes 0-5/10',
    'bytes=0-5',
    '0-9007199254740993',
    '-1-5',
    '',
    ' 0-1',
    '0-1,2-3',
  ])('refuses %j', header => {
    expect(() => parseChunkRange(header)).toThrow(/Content-Range/)
  })
})

describe('receivedRange()', () => {
  it('is inclusive, and has no form for nothing', () => {
    expect(receivedRange(10)).toBe('0-9')
    expect(receivedRange(0)).toBe('0-0')
  })
})
