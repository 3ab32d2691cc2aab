import { describe, expect, test } from 'vitest'
import { DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import {
  compileDeepGlob,
  couldMatchBelow,
  hasWildcard,
  matchDeepGlob,
  matchGlob,
} from '../../../src/builder/dockerfile/glob.ts'

describe('matchGlob()', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['abc', 'abc', true],
    ['abc', 'abd', false],
    ['', '', true],
    ['', 'a', false],
    ['*', 'abc', true],
    ['*', '', true],
    ['*', 'a/b', false],
    ['*.txt', 'a.txt', true],
    ['*.txt', '.txt', true],
    ['*.txt', 'a.txt.gz', false],
    ['a*/b', 'abc/b', true],
    ['a*/b', 'a/c/b', false],
    ['**', 'a/b', false],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['a?c', 'aéc', true],
    ['a?c', 'a😀c', true],
    ['[abc]', 'b', true],
    ['[a-c]x', 'bx', true],
    ['[a-c]x', 'dx', false],
    ['[^a-c]', 'd', true],
    ['[^a-c]', 'b', false],
    ['[^a]', '/', false],
    ['[a\\]]', ']', true],
    ['[\\-x]', '-', true],
    ['a[b-]c', 'abc', false],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['a\\[b', 'a[b', true],
    ['{a,b}', 'a', false],
    ['{a,b}', '{a,b}', true],
    ['a.c', 'abc', false],
    ['a+(b)', 'a+(b)', true],
    ['*a*b*c*', 'xxaxxbxxcxx', true],
    ['*a*b*c*', 'xxcxxbxxaxx', false],
  ]
  for (const [pattern, text, expected] of cases) {
    test(`C08: ${pattern} ${expected ? 'matches' : 'does not match'} ${text}`, () => {
      if (pattern === 'a[b-]c') {
        expect(() => matchGlob(pattern, text)).toThrow(DockerfileError)
        return
      }
      expect(matchGlob(pattern, text)).toBe(expected)
    })
  }

  test.each(['[', '[]a]', '[a', '[a-', '[-a]', 'a\\', '[\\', 'x[a-]'])(
    'C08: refuses %j, quoting it',
    pattern => {
      expect(() => matchGlob(pattern, 'a')).toThrow('syntax error in pattern: ')
    },
  )

  test('takes no longer for *a*a*a…b than its size warrants', () => {
    const pattern = `${'*a'.repeat(60)}*b`
    expect(matchGlob(pattern, 'a'.repeat(4_000))).toBe(false)
    expect(matchGlob(pattern, `${'a'.repeat(4_000)}b`)).toBe(true)
    expect(matchDeepGlob('**/a'.repeat(30), 'a/'.repeat(1_000))).toBe(false)
  })
})

describe('matchDeepGlob()', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['**', 'a', true],
    ['**', 'a/b/c', true],
    ['**/a', 'a', true],
    ['**/a', 'x/y/a', true],
    ['**/a', 'xa', false],
    ['a/**', 'a/b/c', true],
    ['a/**', 'a', false],
    ['a/**/b', 'a/b', true],
    ['a/**/b', 'a/x/y/b', true],
    ['a/**/b', 'a/xb', false],
    ['**/*.go', 'x.go', true],
    ['**/*.go', 'a/b/x.go', true],
    ['**.log', 'a/x.log', true],
    ['*/**/x', 'a/x', true],
    ['*/**/x', 'x', false],
    ['a**b', 'ab', true],
    ['a**b', 'a/x/b', true],
    ['a**b', 'axb', false],
  ]
  for (const [pattern, text, expected] of cases) {
    test(`X05: ${pattern} ${expected ? 'matches' : 'does not match'} ${text}`, () => {
      expect(matchDeepGlob(pattern, text)).toBe(expected)
    })
  }

  test('X05: takes patterns that no regular expression could hold, and any number of stars', () => {
    const long = 'a'.repeat(100_000)
    expect(matchDeepGlob(`${long.slice(0, 4000)}*`, long.slice(0, 4096))).toBe(true)
    expect(matchDeepGlob(`*${long}`, 'a')).toBe(false)
    expect(matchDeepGlob(`${'**/'.repeat(20_000)}a`, 'x/a')).toBe(true)
    expect(matchDeepGlob('**/**/a', 'b')).toBe(false)
  })
})

describe('couldMatchBelow()', () => {
  test.each([
    ['a/b', 'a', true],
    ['a/b', 'c', false],
    ['a/b', 'a/b', false],
    ['**/x', 'a/b', true],
    ['*/x', 'a', true],
    ['*/x', 'a/b', false],
  ])('%s below %s: %s', (pattern, directory, expected) => {
    expect(couldMatchBelow(compileDeepGlob(pattern), directory)).toBe(expected)
  })
})

describe('hasWildcard()', () => {
  test.each([
    ['a', false],
    ['a*', true],
    ['a?', true],
    ['[a]', true],
    ['a\\*', false],
    ['a\\\\*', true],
    ['\\', false],
  ])('%j: %s', (path, expected) => {
    expect(hasWildcard(path)).toBe(expected)
  })
})
