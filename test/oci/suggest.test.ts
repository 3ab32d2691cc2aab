import { describe, expect, test } from 'vitest'
import { suggest } from '../../src/oci/suggest.ts'

const commands = ['build', 'push', 'pull', 'ps', 'rm', 'rmi', 'run', 'images']

describe('suggest()', () => {
  test.each([
    ['psuh', 'push'],
    ['bulid', 'build'],
    ['BUILD', 'build'],
    ['image', 'images'],
    ['rn', 'rm'],
  ])('takes "%s" for "%s"', (word, meant) => {
    expect(suggest(word, commands)).toBe(meant)
  })

  test.each(['build', 'completely-else', 'xx', '', '.'])('has nothing to say about "%s"', word => {
    expect(suggest(word, commands)).toBeUndefined()
  })

  test('does not compare words of very different lengths', () => {
    expect(suggest('x'.repeat(100_000), commands)).toBeUndefined()
  })
})
