import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  familiarReference,
  formatReference,
  parseReference,
  parseRepositoryName,
  parseTag,
} from '../../src/oci/reference.ts'

const hex = 'a'.repeat(64)

describe('parseReference()', () => {
  it.each([
    ['busybox', 'docker.io/library/busybox:latest', 'busybox:latest'],
    ['busybox:1.36', 'docker.io/library/busybox:1.36', 'busybox:1.36'],
    ['team/app', 'docker.io/team/app:latest', 'team/app:latest'],
    ['docker.io/busybox', 'docker.io/library/busybox:latest', 'busybox:latest'],
    ['index.docker.io/a/b', 'docker.io/a/b:latest', 'a/b:latest'],
    ['localhost/app', 'localhost/app:latest', 'localhost/app:latest'],
    ['localhost:5000/app', 'localhost:5000/app:latest', 'localhost:5000/app:latest'],
    ['127.0.0.1:5000/a/b/c:t', '127.0.0.1:5000/a/b/c:t', '127.0.0.1:5000/a/b/c:t'],
    ['[::1]:5000/app:t', '[::1]:5000/app:t', '[::1]:5000/app:t'],
    ['Registry/app', 'Registry/app:latest', 'Registry/app:latest'],
    [`busybox@sha256:${hex}`, `docker.io/library/busybox@sha256:${hex}`, `busybox@sha256:${hex}`],
    [
      `ghcr.io/o/app:1@sha256:${hex}`,
      `ghcr.io/o/app:1@sha256:${hex}`,
      `ghcr.io/o/app:1@sha256:${hex}`,
    ],
    ['a--b/c__d/e.f-g_h', 'docker.io/a--b/c__d/e.f-g_h:latest', 'a--b/c__d/e.f-g_h:latest'],
  ])('reads %s', (text, full, familiar) => {
    const reference = parseReference(text)
    expect(formatReference(reference)).toBe(full)
    expect(familiarReference(reference)).toBe(familiar)
  })

  it.each([
    '',
    ':tag',
    'app:',
    'App',
    'app@',
    'app@sha256:abc',
    'a/',
    '/a',
    'a//b',
    'a/../b',
    './a',
    'a/./b',
    'a b',
    'a\nb',
    'app:-t',
    'app:.t',
    `app:${'t'.repeat(129)}`,
    'a___b',
    'a..b',
    'a-',
    '-a',
    '_a',
    'a/_b',
    'host:port/app',
    'host:123456/app',
    'ho$t.io/app',
    '-host.io/app',
    'a'.repeat(256),
    'a\u0000b',
    'äpp',
  ])('refuses %j', text => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'invalid' }))
  })

  it('reads back what it formats', () => {
    const component = fc.stringMatching(/^[a-z0-9]+(?:(?:\.|_|__|-{1,3})[a-z0-9]+){0,2}$/)
    const names = fc.tuple(
      fc.constantFrom('docker.io', 'localhost:5000', 'ghcr.io', '[fd00::1]:443'),
      fc.array(component, { minLength: 2, maxLength: 4 }),
      fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/),
    )
    fc.assert(
      fc.property(names, ([registry, path, tag]) => {
        const text = `${registry}/${path.join('/')}:${tag}`
        const reference = parseReference(text)
        expect(formatReference(reference)).toBe(text)
        expect(parseReference(familiarReference(reference))).toEqual(reference)
      }),
    )
  })

  it('never throws anything but "invalid"', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), text => {
        try {
          parseReference(text)
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid' })
        }
      }),
    )
  })
})

describe('parseRepositoryName() and parseTag()', () => {
  it('refuse hostile names as fast as short ones', () => {
    for (const name of [`a${'-'.repeat(50_000)}`, 'a__'.repeat(20_000), `a${'.'.repeat(50_000)}`]) {
      expect(() => parseRepositoryName(name)).toThrow('at most 255')
    }
    expect(() => parseRepositoryName(`a${'-'.repeat(250)}`)).toThrow()
    expect(() => parseTag('x'.repeat(100_000))).toThrow('128')
  })

  it('take words that mean something to JavaScript for what they are', () => {
    for (const word of ['constructor', 'tostring', 'hasownproperty']) {
      expect(parseRepositoryName(word)).toBe(word)
    }
    expect(parseTag('__proto__')).toBe('__proto__')
  })
})
