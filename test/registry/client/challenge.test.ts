import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseChallenges } from '../../../src/registry/client/challenge.ts'

function parsed(header: string) {
  return parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)])
}

describe('parseChallenges()', () => {
  test('reads the Bearer challenge of a registry', () => {
    const header =
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'
    expect(parsed(header)).toEqual([
      [
        'bearer',
        {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:a/b:pull,push',
        },
      ],
    ])
  })

  test.each([
    ['several challenges in one header', 'Basic realm="a, b", Bearer realm="c",service=d', 2],
    ['a scheme without parameters', 'Negotiate, Basic realm="x"', 2],
    ['a token68', 'Negotiate YWJjZA==, Basic realm="x"', 2],
    ['a scheme that ends the header', 'Basic realm="x", Negotiate', 2],
    ['empty list elements', ', Basic realm="x",, Bearer realm="y" ,', 2],
    ['spaces around "="', 'Bearer realm = "x" , service = y', 1],
    ['upper-case schemes and names', 'BASIC REALM="x"', 1],
    ['nothing', '', 0],
  ])('reads %s', (_, header, count) => {
    expect(parsed(header)).toHaveLength(count)
  })

  test('unescapes quoted strings', () => {
    expect(parsed('Basic realm="a\\"b\\\\c, d=e"')).toEqual([['basic', { realm: 'a"b\\c, d=e' }]])
  })

  test.each([
    'Bearer realm="unclosed',
    'Bearer realm="a"service="b"',
    'Bearer realm="a",realm="b"',
    'Bearer realm=https://no-quotes/',
    '"quoted scheme"',
    'Bearer realm="a\nb\u0000" ;',
    'Bearer "x"',
  ])('refuses %j', header => {
    expect(() => parseChallenges(header)).toThrow(/^Cannot parse WWW-Authenticate "/)
  })

  test('refuses 10 kB unread, and is quick with what it reads', () => {
    expect(() => parseChallenges('a'.repeat(10_000))).toThrow('WWW-Authenticate')
    const started = performance.now()
    for (const unit of ['a=', ',', ' ', 'a ', 'a="\\', 'Basic ', 'a=b,', '=']) {
      try {
        parseChallenges(unit.repeat(8192 / unit.length))
      } catch {}
    }
    expect(performance.now() - started).toBeLessThan(500)
  })

  test('throws nothing but invalid, whatever the header', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), header => {
        try {
          parseChallenges(header)
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid' })
        }
      }),
    )
  })
})
