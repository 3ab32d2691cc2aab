import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ResumableHash, restoreHash } from '../../../src/registry/storage/resumable-hash.ts'

describe('ResumableHash', () => {
  it('goes on from a saved state at any byte, to the digest that Node gives', () => {
    const bytes = randomBytes(300)
    const expected = createHash('sha256').update(bytes).digest('hex')
    for (let cut = 0; cut <= bytes.length; cut++) {
      const first = new ResumableHash()
      first.update(bytes.subarray(0, cut))
      const second = restoreHash(first.save())
      second?.update(bytes.subarray(cut))
      expect(second?.digest('hex')).toBe(expected)
    }
  })

  it('is not ended by the digest of a copy', () => {
    const hash = new ResumableHash()
    hash.update(Buffer.from('a'))
    hash.copy().digest('hex')
    hash.update(Buffer.from('b'))
    expect(hash.digest('hex')).toBe(createHash('sha256').update('ab').digest('hex'))
  })

  it('refuses what is no state', () => {
    const state = new ResumableHash().save()
    for (const text of ['', 'x', `${state}1`, state.replace(/ 0$/, ' -1'), state.slice(4)]) {
      expect(restoreHash(text)).toBeUndefined()
    }
  })
})
