/** Whatever comes, the registry answers: never a failure of its own, never an unsafe header. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { openAccess } from '../../../src/registry/server/access/access.ts'
import { dispatch, type IncomingRequest } from '../../../src/registry/server/dispatch.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../../src/registry/storage/registry-storage.ts'
import { imageOf } from './contents.ts'

const digest = digestOf('x')
const id = '0b4fa5a3-6a80-4a3a-9d9f-1b8a2f3c4d5e'
const odd = fc.oneof(
  fc.constantFrom(
    '',
    '..',
    '%2e%2e',
    '%00',
    '\u0000',
    '__proto__',
    'sha256:x',
    digest,
    '9'.repeat(30),
  ),
  fc.string({ maxLength: 12, unit: 'binary' }),
)
const name = fc.oneof(fc.constantFrom('a', 'a/b', 'blobs', 'manifests/tags'), odd)
const target = fc.oneof(
  fc.tuple(name, fc.constantFrom('blobs', 'manifests', 'referrers', 'tags', 'blobs/uploads'), odd),
  fc.tuple(name, fc.constant('blobs/uploads'), fc.constant(id)),
  fc.tuple(name, fc.constant('tags'), fc.constant('list')),
)
const query = fc.array(
  fc.tuple(
    fc.constantFrom(
      'n',
      'last',
      'digest',
      'mount',
      'from',
      'tag',
      'artifactType',
      'digest-algorithm',
    ),
    odd,
  ),
  { maxLength: 3 },
)
const headers = fc.dictionary(
  fc.constantFrom(
    'range',
    'content-range',
    'content-length',
    'content-type',
    'if-match',
    'if-none-match',
    'if-range',
  ),
  fc.oneof(odd, fc.constantFrom('bytes=0-1', '0-1', '*', `"${digest}"`, mediaTypes.manifest)),
)
const body = fc.oneof(
  fc.constant(imageOf([]).bytes),
  fc.json().map(text => Buffer.from(text)),
  fc.uint8Array({ maxLength: 50 }).map(bytes => Buffer.from(bytes)),
)
const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'X')

const request = fc
  .tuple(method, target, query, headers, body)
  .map(([verb, parts, pairs, fields, bytes]): IncomingRequest => {
    const search = pairs.map(([key, value]) => `${key}=${value}`).join('&')
    const values = new Map(Object.entries(fields))
    return {
      method: verb,
      target: `/v2/${parts.join('/')}${search === '' ? '' : `?${search}`}`,
      header: key => values.get(key),
      client: { header: key => values.get(key) },
      body: (async function* () {
        yield bytes
      })(),
      isRedirected: false,
      reserveMemory: async () => ({ [Symbol.dispose]: () => {} }),
    }
  })

describe('dispatch()', () => {
  it('answers anything with a status below 500 and headers fit to be sent', async () => {
    const failures: unknown[] = []
    const registry = {
      storage: createRegistryStorage(new MemoryObjectStore()),
      access: openAccess,
      onError: (error: unknown) => failures.push(error),
    }
    await fc.assert(
      fc.asyncProperty(request, async incoming => {
        const reply = await dispatch(registry, incoming)
        expect(reply.status).toBeGreaterThanOrEqual(200)
        expect(reply.status).toBeLessThan(500)
        for (const value of Object.values(reply.headers)) expect(value).toMatch(/^[\x20-\x7e]*$/)
      }),
      { numRuns: 3000 },
    )
    expect(failures).toEqual([])
  })
})
