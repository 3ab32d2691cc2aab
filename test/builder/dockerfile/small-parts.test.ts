import { describe, expect, test } from 'vitest'
import { cleanPath, resolvePath } from '../../../src/builder/dockerfile/clean-path.ts'
import { detectSyntax } from '../../../src/builder/dockerfile/directive.ts'
import { formatDuration, parseDuration } from '../../../src/builder/dockerfile/duration.ts'
import { atSpan, DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import { excerptOf, formatExcerpt } from '../../../src/builder/dockerfile/excerpt.ts'
import { goQuote } from '../../../src/builder/dockerfile/go-quote.ts'
import { applyMode, parseMode } from '../../../src/builder/dockerfile/mode.ts'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'
import { parseSize } from '../../../src/builder/dockerfile/size.ts'
import { didYouMean } from '../../../src/builder/dockerfile/suggest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import { failure } from './parsing.ts'

describe('formatExcerpt()', () => {
  test('shows four lines around one, marked', () => {
    const source = '1\n2\n3\nFOO x\n5\n6\n7\n'
    const error = new DockerfileError('m', { span: { startLine: 4, endLine: 4, start: 0, end: 0 } })
    expect(formatExcerpt(source, error)).toBe(
      [
        'Dockerfile:4',
        '--------------------',
        '   2 |     2',
        '   3 |     3',
        '   4 | >>> FOO x',
        '   5 |     5',
        '   6 |     6',
        '--------------------',
        '',
      ].join('\n'),
    )
  })

  test('marks all lines of several, and shows two around them', () => {
    const text = excerptOf('a\nb\nc\nd\ne\nf', 'x.Dockerfile', {
      startLine: 3,
      endLine: 4,
      start: 0,
      end: 0,
    })
    expect(text.split('\n')).toEqual([
      'x.Dockerfile:3',
      '--------------------',
      '   2 |     b',
      '   3 | >>> c',
      '   4 | >>> d',
      '   5 |     e',
      '--------------------',
      '',
    ])
  })

  test('shows no control characters, and no carriage returns', () => {
    const text = 'FROM a\r\nFOO \u001b[31m\r\n'
    expect(formatExcerpt(text, failure(text))).toContain('   2 | >>> FOO \\u001b[31m\n')
  })

  test('is empty for an error that is nowhere', () => {
    expect(formatExcerpt('FROM a', new DockerfileError('m'))).toBe('')
  })
})

describe('atSpan()', () => {
  const place = { file: 'f', span: { startLine: 2, endLine: 2, start: 0, end: 0 } }

  test('places an error that has no place, keeping code, hint and cause', () => {
    const cause = new Error('c')
    const thrown = () =>
      atSpan(place, () => {
        throw new OciError('not-found', 'm', { hint: 'h' })
      })
    expect(thrown).toThrow(
      expect.objectContaining({ code: 'not-found', hint: 'h', span: place.span, file: 'f' }),
    )
    expect(() =>
      atSpan(place, () => {
        throw cause
      }),
    ).toThrow(cause)
  })
})

describe('refuseForeignFrontend()', () => {
  const parse = (syntax: string) => parseDockerfile(`# escape=\`\n# syntax=${syntax}\nFROM x`)

  test.each([
    'docker/dockerfile',
    'docker/dockerfile:1',
    'docker/dockerfile:1.7-labs',
    'docker.io/docker/dockerfile-upstream:master',
    `mirror.example.com:5000/hub/docker/dockerfile:1@sha256:${'0'.repeat(64)}`,
  ])('D04: takes %s for the language it has', frontend => {
    expect(parse(frontend).instructions).toHaveLength(1)
  })

  test('D04: refuses others at their line, unless BUILDKIT_SYNTAX says ours', () => {
    for (const other of ['acme/frontend:1', 'docker/dockerfile-x', 'dockerfile.example.com/a']) {
      expect(() => parse(other)).toThrow(`frontend "${other}" is not supported`)
    }
    expect(failure('# escape=`\n# syntax=acme/f\nrunn x').span).toMatchObject({ startLine: 2 })
    const text = '# syntax=acme/f\nFROM x'
    expect(parseDockerfile(text, 'f', 'docker/dockerfile').instructions).toHaveLength(1)
    expect(() => parseDockerfile('FROM x', 'f', 'acme/f')).toThrow('frontend "acme/f"')
  })
})

describe('detectSyntax()', () => {
  test.each([
    ['# syntax=a/b:1\nFROM x', 'a/b:1'],
    ['#!/usr/bin/x\n# syntax = a', 'a'],
    ['# escape=`\n# syntax=a extra', 'a'],
    ['// syntax=a\n', 'a'],
    ['{"syntax": "a"}', 'a'],
    ['\ufeff#syntax=a', 'a'],
    ['# comment\n# syntax=a', undefined],
    ['FROM x', undefined],
    ['{"syntax": 1}', undefined],
    ['{broken', undefined],
  ])('D04: %j asks for %s', (text, expected) => {
    expect(detectSyntax(text)).toBe(expected)
  })
})

describe('parseMode() and applyMode()', () => {
  test.each([
    ['644', 0o755, false, 0o644],
    ['07777', 0, false, 0o7777],
    ['u=rwX,go=rX', 0o600, true, 0o755],
    ['u=rwX,go=rX', 0o600, false, 0o644],
    ['u=rwX,go=rX', 0o700, false, 0o755],
    ['+x', 0o644, false, 0o755],
    ['a-w', 0o666, false, 0o444],
    ['g=u', 0o640, false, 0o660],
    ['u+s', 0o755, false, 0o4755],
    ['g+s', 0o755, false, 0o2755],
    ['+t', 0o777, true, 0o1777],
    ['o=', 0o777, false, 0o770],
    ['u+r-w', 0o200, false, 0o400],
    ['u=rg', 0o741, false, 0o441],
    ['u=gx', 0o741, false, 0o141],
    ['o=ug+w', 0o751, false, 0o757],
    ['a=g', 0o7751, true, 0o7555],
    ['a=rx', 0o7751, true, 0o1555],
    ['o+t', 0o777, true, 0o777],
    ['u+t', 0o777, true, 0o1777],
    ['=rt', 0o751, true, 0o1751],
    ['=t+x', 0o644, false, 0o1755],
    ['a-t', 0o1777, true, 0o777],
  ])('C17: %s on %o', (...[text, before, isDirectory, after]) => {
    expect(applyMode(parseMode(text), before, isDirectory).toString(8)).toBe(after.toString(8))
  })

  test('C17: keeps the bits of the file type', () => {
    expect(applyMode(parseMode('600'), 0o100755, false)).toBe(0o100600)
  })

  test.each(['', '8', '64a', '10000', 'x', 'u', 'u+q', 'u=rw,', 'ug=ox,X='])(
    'C17: refuses %j',
    text => {
      expect(() => parseMode(text)).toThrow('invalid chmod parameter')
    },
  )
})

describe('durations, sizes, paths', () => {
  test.each([
    ['1h2m3s', 3723e9, '1h2m3s'],
    ['1500ms', 1.5e9, '1.5s'],
    ['5us', 5000, '5µs'],
    ['.5s', 5e8, '500ms'],
    ['0', 0, '0s'],
    ['-3s', -3e9, undefined],
  ])('I05: %s', (text, nanoseconds, shown) => {
    expect(parseDuration(text)).toBe(nanoseconds)
    if (shown !== undefined) expect(formatDuration(nanoseconds)).toBe(shown)
  })

  test('I05: a duration without a unit is refused at once, however long', () => {
    const started = process.cpuUsage()
    expect(() => parseDuration('9'.repeat(100_000))).toThrow(/^time: missing unit in duration/)
    // Seconds, were it to try every way to divide it.
    expect(process.cpuUsage(started).user).toBeLessThan(2_000_000)
  })

  test.each([
    ['10', 10],
    ['1k', 1024],
    ['1.5MB', 1.5 * 1024 ** 2],
    ['2GiB', 2 * 1024 ** 3],
    ['', undefined],
    ['k', undefined],
    ['-1', undefined],
  ])('R11: %j', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  test.each([
    ['', '.'],
    ['.', '.'],
    ['/', '/'],
    ['//a//b/', '/a/b'],
    ['/../a', '/a'],
    ['a/../..', '..'],
    ['../a', '../a'],
    ['a/./b/..', 'a'],
  ])('cleanPath(%j) is %j', (path, expected) => {
    expect(cleanPath(path)).toBe(expected)
  })

  test('resolvePath() stops at the root', () => {
    expect(resolvePath('/w', '../../x')).toBe('/x')
    expect(resolvePath('/w', '/y/')).toBe('/y')
    expect(resolvePath('/', '')).toBe('/')
  })
})

describe('goQuote() and didYouMean()', () => {
  test('quotes as Go does', () => {
    expect(goQuote('a"\\\n\u0000\u001b\u200bé😀')).toBe('"a\\"\\\\\\n\\x00\\x1b\\u200bé😀"')
  })

  test('suggests within two edits, never the word itself', () => {
    expect(didYouMean('trget', ['target', 'type'])).toBe(' (did you mean target?)')
    expect(didYouMean('type', ['type', 'typ'])).toBe('')
    expect(didYouMean('xyz', ['target'])).toBe('')
  })
})
