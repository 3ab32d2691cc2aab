import { createHash, randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { openThreadHash } from '../../../src/layerfs/content/thread-hash.ts'

const open = (algorithm: 'sha256' | 'sha512') => {
  const hash = openThreadHash(algorithm)
  if (hash === undefined) throw new Error('This Node shows no OpenSSL')
  return hash
}

it.each(['sha256', 'sha512'] as const)(
  'computes %s as Node does, by a thread or at once',
  async algorithm => {
    const chunks = [0, 1, 63, 64, 65, 70_000, 1_000_000].map(size => randomBytes(size))
    const hash = open(algorithm)
    const nodes = createHash(algorithm)
    expect(hash.digest('hex')).toBe(nodes.copy().digest('hex'))
    await hash.updateByThread(chunks)
    for (const chunk of chunks) nodes.update(chunk)
    for (const chunk of chunks) {
      hash.update(chunk)
      nodes.update(chunk)
    }
    expect(hash.digest('hex')).toBe(nodes.digest('hex'))
  },
)

it('goes on after its digest was taken, and by itself as a copy', () => {
  const hash = open('sha256')
  hash.update(Buffer.from('a'))
  const copy = hash.copy()
  copy.update(Buffer.from('b'))
  hash.digest('hex')
  hash.update(Buffer.from('c'))
  const digestOf = (text: string) => createHash('sha256').update(text).digest('hex')
  expect([copy.digest('hex'), hash.digest('hex')]).toEqual([digestOf('ab'), digestOf('ac')])
})

it('refuses everything while a thread works on it, and has lost nothing then', async () => {
  const hash = open('sha256')
  const bytes = randomBytes(4_000_000)
  const updating = hash.updateByThread([bytes])
  expect(() => hash.digest('hex')).toThrow('it is being updated')
  expect(() => hash.copy()).toThrow('it is being updated')
  expect(() => hash.update(bytes)).toThrow('it is being updated')
  expect(() => hash.updateByThread([bytes])).toThrow('it is being updated')
  await updating
  expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
})

it('refuses what is not bytes, and is as it was', () => {
  const hash = open('sha256')
  expect(() => hash.updateByThread([Buffer.from('a'), 'b' as unknown as Uint8Array])).toThrow(
    TypeError,
  )
  expect(hash.digest('hex')).toBe(createHash('sha256').digest('hex'))
})

it('computes many at once', async () => {
  const bytes = randomBytes(300_000)
  const hashes = Array.from({ length: 50 }, () => open('sha256'))
  await Promise.all(hashes.map(hash => hash.updateByThread([bytes, bytes])))
  const expected = createHash('sha256').update(bytes).update(bytes).digest('hex')
  expect(new Set(hashes.map(hash => hash.digest('hex')))).toEqual(new Set([expected]))
})
