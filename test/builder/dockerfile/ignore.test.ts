import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ignoreMatcher, parseIgnore } from '../../../src/builder/dockerfile/ignore.ts'

const matches = (text: string, path: string) => parseIgnore(text).match(path)

describe('parseIgnore()', () => {
  const cases: readonly (readonly [string, string, string, boolean])[] = [
    ['X04', 'a', 'a', true],
    ['X04', 'a', 'b', false],
    ['X04', '/a', 'a', true],
    ['X04', './a/', 'a', true],
    ['X04', 'a/../b', 'b', true],
    ['X04', '  a  ', 'a', true],
    ['X04', 'a\r\nb', 'a', true],
    ['X04', '\ufeffa', 'a', true],
    ['X04', '#a', '#a', false],
    ['X04', ' #a', '#a', true],
    ['X04', '.', 'a', false],
    ['X04', '', 'a', false],
    ['X04', 'a\n!a', 'a', false],
    ['X04', '!a\na', 'a', true],
    ['X04', 'a\n! a', 'a', false],
    ['X05', 'a', 'a/b/c', true],
    ['X05', 'a/b', 'a', false],
    ['X05', '*', 'a/b', true],
    ['X05', '*.md', 'a/x.md', false],
    ['X05', '**/*.md', 'a/x.md', true],
    ['X05', '**/*.md', 'x.md', true],
    ['X05', 'a/*', 'a/b/c', true],
    ['X05', 'a/?', 'a/bc', false],
    ['X05', '[ab]', 'b', true],
    ['X05', 'dir\n!dir/file', 'dir/file', false],
    ['X05', 'dir\n!dir/file', 'dir/other', true],
    ['X05', 'dir\n!dir/sub', 'dir/sub/x', false],
    ['X05', '*\n!*.md\nREADME-secret.md', 'README.md', false],
    ['X05', '*\n!*.md\nREADME-secret.md', 'README-secret.md', true],
    ['X05', '**\n!a/b/c', 'a/b/c', false],
    ['X05', '**\n!a/b/c', 'a/b/d', true],
    ['X06', 'Dockerfile\n.dockerignore', '.dockerignore', true],
  ]
  for (const [row, text, path, expected] of cases) {
    test(`${row}: ${JSON.stringify(text)} ${expected ? 'leaves out' : 'keeps'} ${path}`, () => {
      expect(matches(text, path)).toBe(expected)
    })
  }

  test('X04: refuses a lone !', () => {
    expect(() => parseIgnore('a\n!\n')).toThrow('illegal exclusion pattern: "!"')
  })

  test('X05: refuses a malformed pattern, quoting it', () => {
    expect(() => parseIgnore('a\n[b\n')).toThrow('syntax error in pattern: "[b"')
  })

  test('tells the patterns and whether any takes something back', () => {
    expect(parseIgnore('/a/\n# c\n! b')).toMatchObject({
      patterns: ['a', '!b'],
      hasExceptions: true,
    })
    expect(parseIgnore('a')).toMatchObject({ hasExceptions: false })
  })
})

describe('prunes()', () => {
  test.each([
    ['node_modules', 'node_modules', true],
    ['node_modules', 'src', false],
    ['*\n!src', 'src', false],
    ['*\n!src', 'other', true],
    ['dir\n!dir/a/b', 'dir', false],
    ['dir\n!dir/a/b', 'dir/a', false],
    ['dir\n!dir/a/b', 'dir/c', true],
    ['dir\n!**/keep', 'dir/c', false],
    ['**\n!*.md', 'dir', true],
  ])('%j, directory %s: %s', (text, directory, expected) => {
    expect(parseIgnore(text).prunes(directory)).toBe(expected)
  })

  const words = fc.constantFrom('a', 'b', '*', '**', '!', '/', '\n', '?')
  const path = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 4 })

  test('never hides a path that is not left out', () => {
    fc.assert(
      fc.property(fc.array(words, { maxLength: 12 }), path, (parts, components) => {
        const lines = parts
          .join('')
          .split('\n')
          .filter(line => !/^[!/]*$/.test(line))
        const matcher = ignoreMatcher(lines)
        const directory = components.slice(0, -1).join('/')
        if (directory === '' || !matcher.prunes(directory)) return
        expect(matcher.match(components.join('/'))).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })

  test('answers the same whatever was asked before', () => {
    fc.assert(
      fc.property(
        fc.array(words, { maxLength: 10 }),
        fc.array(path, { minLength: 1, maxLength: 6 }),
        (parts, paths) => {
          const lines = parts
            .join('')
            .split('\n')
            .filter(line => !/^[!/]*$/.test(line))
          const shared = ignoreMatcher(lines)
          for (const components of paths) {
            const text = components.join('/')
            expect(shared.match(text)).toBe(ignoreMatcher(lines).match(text))
          }
        },
      ),
    )
  })
})
