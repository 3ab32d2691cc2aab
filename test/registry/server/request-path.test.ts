import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import {
  parseRequestPath,
  parseTarget,
  splitTarget,
} from '../../../src/registry/server/request-path.ts'
import { ResourceError } from '../../../src/registry/storage/resource-error.ts'

const digest = digestOf('x')
const id = '0b4fa5a3-6a80-4a3a-9d9f-1b8a2f3c4d5e'

const failure = (path: string): string => {
  try {
    parseRequestPath(path)
  } catch (error) {
    if (error instanceof ResourceError) return `${error.code} ${error.resource}`
    throw error
  }
  throw new Error(`${path} was accepted`)
}

describe('parseRequestPath()', () => {
  it.each([
    ['/v2/', { kind: 'base' }],
    ['/v2', { kind: 'base' }],
    ['/v2/_catalog', { kind: 'catalog' }],
    ['/v2/_oci/ext/discover', { kind: 'extensions' }],
    [`/v2/a/b/blobs/${digest}`, { kind: 'blob', repository: 'a/b', digest }],
    [`/v2/a/blobs/sha256%3A${digest.slice(7)}`, { kind: 'blob', repository: 'a', digest }],
    ['/v2/a/blobs/uploads/', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'uploads', repository: 'a' }],
    [`/v2/a/blobs/uploads/${id}`, { kind: 'upload', repository: 'a', id }],
    [
      '/v2/a/manifests/x',
      { kind: 'manifest', repository: 'a', reference: { kind: 'tag', tag: 'x' } },
    ],
    [
      `/v2/a/manifests/${digest}`,
      { kind: 'manifest', repository: 'a', reference: { kind: 'digest', digest } },
    ],
    ['/v2/a/tags/list', { kind: 'tags', repository: 'a' }],
    [`/v2/a/referrers/${digest}`, { kind: 'referrers', repository: 'a', digest }],
  ])('reads %s', (path, endpoint) => {
    expect(parseRequestPath(path)).toEqual(endpoint)
  })

  it.each([
    ['/v2/a/blobs/b/manifests/c', 'manifest', 'a/blobs/b'],
    ['/v2/blobs/tags/list', 'tags', 'blobs'],
    ['/v2/manifests/manifests/manifests', 'manifest', 'manifests'],
    ['/v2/a/tags/list/tags/list', 'tags', 'a/tags/list'],
    [`/v2/uploads/blobs/uploads/${id}`, 'upload', 'uploads'],
    [`/v2/a/blobs/uploads/blobs/${digest}`, 'blob', 'a/blobs/uploads'],
    ['/v2/v2/manifests/v2', 'manifest', 'v2'],
  ])('reads %s from the right', (path, kind, repository) => {
    expect(parseRequestPath(path)).toMatchObject({ kind, repository })
  })

  it.each([
    ['/v2/../manifests/x', 'invalid repository'],
    ['/v2/./manifests/x', 'invalid repository'],
    ['/v2/a/../b/manifests/x', 'invalid repository'],
    ['/v2//manifests/x', 'invalid repository'],
    ['/v2/manifests/x', 'invalid repository'],
    ['/v2/a//b/manifests/x', 'invalid repository'],
    ['/v2/a/b//manifests/x', 'invalid repository'],
    ['/v2/%2e%2e/manifests/x', 'invalid repository'],
    ['/v2/a%2fb/manifests/x', 'invalid repository'],
    ['/v2/a%252fb/manifests/x', 'invalid repository'],
    ['/v2/a\\b/manifests/x', 'invalid repository'],
    ['/v2/A/manifests/x', 'invalid repository'],
    ['/v2/a%00/manifests/x', 'invalid repository'],
    ['/v2/аpp/manifests/x', 'invalid repository'],
    ['/v2/_a/manifests/x', 'invalid repository'],
    ['/v2/a/_catalog/manifests/x', 'invalid repository'],
    [`/v2/${'a'.repeat(256)}/manifests/x`, 'invalid repository'],
    [`/v2/${'a/'.repeat(5000)}a/manifests/x`, 'invalid repository'],
    ['/v2/a/manifests/.x', 'invalid tag'],
    ['/v2/a/manifests/-x', 'invalid tag'],
    ['/v2/a/manifests/', 'invalid tag'],
    [`/v2/a/manifests/${'x'.repeat(129)}`, 'invalid tag'],
    ['/v2/a/manifests/%2e%2e', 'invalid tag'],
    ['/v2/a/manifests/..%2f..', 'invalid tag'],
    ['/v2/a/manifests/x%2541', 'invalid tag'],
    ['/v2/a/manifests/x@y', 'invalid tag'],
    ['/v2/a/manifests/x%0d%0aSet-Cookie', 'invalid tag'],
    ['/v2/a/manifests/%', 'invalid tag'],
    ['/v2/a/manifests/sha256:baddigeststring', 'invalid digest'],
    ['/v2/a/blobs/sha256:', 'invalid digest'],
    ['/v2/a/blobs/', 'invalid digest'],
    ['/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e', 'invalid digest'],
    [`/v2/a/blobs/${digest.toUpperCase()}`, 'invalid digest'],
    [`/v2/a/blobs/sha256:${'A'.repeat(64)}`, 'invalid digest'],
    [`/v2/a/blobs/sha256:${'a'.repeat(63)}`, 'invalid digest'],
    [`/v2/a/blobs/sha256:sha256:${'a'.repeat(57)}`, 'invalid digest'],
    [`/v2/a/blobs/sha256+b64:${'a'.repeat(64)}`, 'invalid digest'],
    [`/v2/a/blobs/sha512:${'a'.repeat(64)}`, 'invalid digest'],
    [`/v2/a/blobs/sha256:..%2f${'a'.repeat(61)}`, 'invalid digest'],
    [`/v2/a/blobs/__proto__:${'a'.repeat(64)}`, 'invalid digest'],
    ['/v2/a/referrers/x', 'invalid digest'],
    ['/v2/a/blobs/uploads/not-a-uuid', 'not-found upload'],
    [`/v2/a/blobs/uploads/${id.toUpperCase()}`, 'not-found upload'],
    ['/v2/a/blobs/uploads/..%2f..%2fx', 'not-found upload'],
    ['/v2/a', 'not-found endpoint'],
    ['/v2/a/tags/', 'not-found endpoint'],
    ['/v2/a/tags/list/', 'not-found endpoint'],
    ['/v2/_catalog/', 'not-found endpoint'],
    ['/V2/', 'not-found endpoint'],
    ['//v2/', 'not-found endpoint'],
    ['/v2/%2e%2e/', 'not-found endpoint'],
    ['', 'not-found endpoint'],
    ['*', 'not-found endpoint'],
  ])('refuses %s: %s', (path, expected) => {
    expect(failure(path)).toBe(expected)
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])('takes the tag "%s"', tag => {
    expect(parseRequestPath(`/v2/a/manifests/${tag}`)).toMatchObject({ reference: { tag } })
  })

  it.each([
    ['dashes', `a${'-'.repeat(50_000)}`],
    ['underscores', 'a__'.repeat(20_000)],
    ['dots', `a${'.'.repeat(50_000)}b`],
    ['slashes', 'a/'.repeat(8_000)],
    ['a long tail of dashes within the limit', `${'a-'.repeat(120)}--!`],
  ])('refuses a name of many %s in no time', (_, name) => {
    const started = performance.now()
    expect(failure(`/v2/${name}/manifests/x`)).toBe('invalid repository')
    expect(performance.now() - started).toBeLessThan(200)
  })

  it('gives an endpoint or refuses, whatever comes', () => {
    const part = fc.oneof(
      fc.constantFrom(
        'blobs',
        'uploads',
        'manifests',
        'tags',
        'list',
        'referrers',
        '..',
        '',
        digest,
      ),
      fc.string({ maxLength: 8 }),
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), parts => {
        try {
          const endpoint = parseRequestPath(`/v2/${parts.join('/')}`)
          if ('repository' in endpoint) expect(endpoint.repository).toMatch(/^[a-z0-9._/-]{1,255}$/)
        } catch (error) {
          expect(error).toBeInstanceOf(OciError)
        }
      }),
    )
  })
})

describe('parseTarget()', () => {
  it('gives the same for a target that it has seen, and refuses again what it refused', () => {
    for (const _ of ['first', 'again']) {
      expect(parseTarget('/v2/a/manifests/x?ns=b').endpoint).toEqual(
        parseRequestPath('/v2/a/manifests/x'),
      )
      expect(parseTarget('/v2/a/manifests/x?ns=b').query.get('ns')).toBe('b')
      expect(parseTarget('/v2/a/manifests/x').query.get('ns')).toBeNull()
      expect(() => parseTarget('/v2/A/manifests/x')).toThrow('repository')
    }
  })
})

describe('splitTarget()', () => {
  it('drops the host of an absolute-form target', () => {
    expect(splitTarget('http://evil.example/v2/?n=1').path).toBe('/v2/')
    expect(splitTarget('http://evil.example/v2/?n=1').query.get('n')).toBe('1')
  })

  it('leaves the path as it was sent', () => {
    expect(splitTarget('/v2/a%2fb/../c?x=%20').path).toBe('/v2/a%2fb/../c')
  })
})
