import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { listedName, nameFromListed } from '../../../src/registry/storage/keys.ts'

const name = fc
  .array(fc.constantFrom(...'ab09._-/'), { minLength: 1, maxLength: 12 })
  .map(chars => chars.join(''))

describe('listedName()', () => {
  it('is one path component and turns back', () => {
    fc.assert(
      fc.property(name, text => {
        expect(listedName(text)).not.toContain('/')
        expect(nameFromListed(listedName(text))).toBe(text)
      }),
    )
  })

  it('sorts as the names do', () => {
    fc.assert(
      fc.property(name, name, (a, b) => {
        expect(listedName(a) < listedName(b)).toBe(a < b)
      }),
    )
  })
})
