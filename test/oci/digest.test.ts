import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  algorithmOf,
  chainId,
  chainIds,
  type DiffId,
  digestOf,
  finishDiffId,
  finishDigest,
  hexOf,
  isAlgorithm,
  parseChainId,
  parseDiffId,
  parseDigest,
} from '../../src/oci/digest.ts'
import { createDigestHash } from '../../src/oci/digest-hash.ts'

const emptySha256 = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

describe('parseDigest()', () => {
  it('takes sha256 and sha512 with lower-case hex of the right length', () => {
    expect(parseDigest(emptySha256)).toBe(emptySha256)
    expect(parseDigest(`sha512:${'0'.repeat(128)}`)).toHaveLength(135)
  })

  it.each([
    '',
    'sha256',
    'sha256:',
    ':abc',
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    `SHA256:${'a'.repeat(64)}`,
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(65)}`,
    `sha256:${'g'.repeat(64)}`,
    `sha256:sha256:${'a'.repeat(57)}`,
    `sha512:${'a'.repeat(64)}`,
    `sha256:../../../../etc/passwd${'a'.repeat(42)}`,
    `sha256:${'a'.repeat(63)}\n`,
    `constructor:${'a'.repeat(64)}`,
    `__proto__:${'a'.repeat(64)}`,
  ])('refuses %j, quoting it', text => {
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'invalid' }))
  })

  it('quotes no control character and no endless text', () => {
    const error = catchError(() => parseDigest(`\u001b[2J${'x'.repeat(10_000)}`))
    expect(error.message).not.toContain('\u001b')
    expect(error.message.length).toBeLessThan(500)
  })
})

describe('hexOf() and algorithmOf()', () => {
  it('take a digest apart', () => {
    const digest = digestOf('', 'sha512')
    expect(algorithmOf(digest)).toBe('sha512')
    expect(hexOf(digest)).toHaveLength(128)
    expect(isAlgorithm('sha256')).toBe(true)
    expect(isAlgorithm('toString')).toBe(false)
  })
})

describe('digestOf()', () => {
  it.each([
    ['', 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
    ['abc', '6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85'],
  ])('knows BLAKE3 of %j', (text, hex) => {
    expect(digestOf(text, 'blake3')).toBe(`blake3:${hex}`)
    const hash = createDigestHash('blake3')
    hash.copy().update('another way')
    for (const letter of text) hash.update(letter)
    expect(finishDigest(hash, 'blake3')).toBe(`blake3:${hex}`)
  })

  it('names bytes, however they were hashed', () => {
    expect(digestOf('')).toBe(emptySha256)
    expect(finishDigest(createHash('sha256').update('ab').update('c'))).toBe(digestOf('abc'))
    expect(finishDiffId(createHash('sha256'))).toBe(emptySha256)
  })
})

describe('chainId() (A34)', () => {
  const layers = ['a', 'b', 'c'].map(text => digestOf(text) as string as DiffId)
  const [first = parseDiffId(emptySha256), second = first] = layers

  it('A34 is the layer itself at the bottom, and the digest of parent and layer above', () => {
    expect(chainId(undefined, first)).toBe(first)
    expect(chainId(parseChainId(first), second)).toBe(digestOf(`${first} ${second}`))
  })

  it('A34 depends on every layer and on their order', () => {
    const stack = chainIds(layers)
    expect(stack).toHaveLength(3)
    expect(stack[0]).toBe(first)
    expect(chainIds([...layers].reverse()).at(-1)).not.toBe(stack.at(-1))
    expect(chainIds(layers.slice(0, 2))).toEqual(stack.slice(0, 2))
  })

  it('cannot be given a digest of stored bytes: that does not compile', () => {
    // @ts-expect-error a Digest is not a DiffId
    expect(chainId(undefined, digestOf('a'))).toBeDefined()
  })
})

function catchError(work: () => unknown): Error {
  try {
    work()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('Nothing was thrown')
}
