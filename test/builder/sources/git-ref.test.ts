import { describe, expect, it } from 'vitest'
import { assertChecksum, assertRef, chooseRef } from '../../../src/builder/sources/git-ref.ts'

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(digit => digit.repeat(40)) as [
  string,
  string,
  string,
  string,
]

describe('assertRef()', () => {
  it.each(['main', 'feature/x', 'v1.2', 'refs/pull/1/head', 'übung'])('takes %j', ref => {
    expect(() => assertRef(ref)).not.toThrow()
  })

  it.each([
    '-upload-pack=x',
    '--exec=x',
    'a:b',
    '+main',
    'a..b',
    'a b',
    'a\nb',
    'a*',
    'x^',
    'x~1',
    'a@{1}',
    '@',
    '/a',
    'a/',
    '.a',
    'a/.b',
    'a.lock',
    'a.',
    'a\\b',
    'a[b',
    '',
  ])('refuses %j', ref => {
    expect(() => assertRef(ref)).toThrow('not a valid name')
  })
})

describe('chooseRef()', () => {
  it('C29 takes HEAD when no ref is asked for', () => {
    expect(chooseRef(`${a}\tHEAD\n${b}\trefs/heads/x\n`, undefined)).toEqual({ commit: a })
  })

  it('C29 prefers the very ref to a branch, and a branch to a tag', () => {
    const output = `${a}\trefs/tags/x\n${b}\trefs/heads/x\n${c}\trefs/x\n`
    expect(chooseRef(output, 'x')).toEqual({ commit: c })
    expect(chooseRef(output, 'heads/x')).toEqual({ commit: b })
    expect(chooseRef(output, 'refs/tags/x')).toEqual({ commit: a })
    expect(chooseRef(output.split('\n').slice(0, 2).join('\n'), 'x')).toEqual({ commit: b })
  })

  it('C29 looks through an annotated tag at its commit', () => {
    const output = `${a}\trefs/tags/v1\n${d}\trefs/tags/v1^{}\n`
    expect(chooseRef(output, 'v1')).toEqual({ commit: d, tag: a })
  })

  it('does not take a ref for another that only ends like it, nor what is no commit', () => {
    expect(chooseRef(`${a}\trefs/heads/feature/x\n`, 'x')).toBeUndefined()
    expect(chooseRef('short\trefs/heads/x\n--evil\trefs/tags/x\n', 'x')).toBeUndefined()
  })
})

describe('assertChecksum()', () => {
  it('C27 takes the beginning of the commit or of the annotated tag', () => {
    expect(() => assertChecksum(a.slice(0, 7), { commit: a })).not.toThrow()
    expect(() => assertChecksum(b.toUpperCase(), { commit: a, tag: b })).not.toThrow()
  })

  it('C27 refuses another commit in the words of BuildKit', () => {
    expect(() => assertChecksum(b, { commit: a })).toThrow(
      `expected checksum to match ${b}, got ${a}`,
    )
    expect(() => assertChecksum(c, { commit: a, tag: b })).toThrow(`got ${b} or ${a}`)
  })

  it.each(['', 'abc', 'foobar', '--evil', 'sha256:abc'])('C27 refuses %j', checksum => {
    expect(() => assertChecksum(checksum, { commit: a })).toThrow('invalid checksum')
  })
})
