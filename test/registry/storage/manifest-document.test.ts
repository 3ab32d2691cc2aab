import { describe, expect, it } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { hasCode } from '../../../src/oci/errors.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { type ScannedObject, scanJson } from '../../../src/registry/storage/json-scan.ts'
import { parseManifestDocument } from '../../../src/registry/storage/manifest-document.ts'

const blob = (name: string, extra: object = {}) => ({
  mediaType: mediaTypes.layerGzip,
  digest: digestOf(name),
  size: 3,
  ...extra,
})
const image = (extra: object = {}) => ({
  schemaVersion: 2,
  mediaType: mediaTypes.manifest,
  config: blob('c', { mediaType: mediaTypes.config }),
  layers: [blob('l')],
  ...extra,
})
const parse = (document: unknown, type: string = mediaTypes.manifest) =>
  parseManifestDocument(
    Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)),
    type,
  )
const refusal = (document: unknown, type?: string): string => {
  try {
    parse(document, type)
  } catch (error) {
    expect(hasCode(error, 'invalid')).toBe(true)
    return (error as Error).message
  }
  throw new Error('It was accepted')
}

describe('parseManifestDocument()', () => {
  it('finds config and layers, each digest once', () => {
    const document = parse(image({ layers: [blob('l'), blob('l'), blob('m')] }))
    expect(document.references.map(reference => reference.digest)).toEqual(
      ['c', 'l', 'm'].map(name => digestOf(name)),
    )
  })

  it('takes the artifact type from the config where the manifest has none', () => {
    expect(parse(image()).artifactType).toBe(mediaTypes.config)
    expect(parse(image({ artifactType: 'a/b' })).artifactType).toBe('a/b')
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] }
    expect(parse(index, mediaTypes.index).artifactType).toBeUndefined()
  })

  it('accepts empty and absent lists, unknown members, unknown types', () => {
    expect(parse(image({ layers: [] })).references).toHaveLength(1)
    expect(parse(image({ layers: null })).references).toHaveLength(1)
    expect(parse(image({ 'org.example.custom': { a: [1] } })).references).toHaveLength(2)
    const other = { blobs: [blob('b')], subject: blob('s') }
    const document = parse(other, 'application/vnd.example.artifact+json')
    expect(document.subject).toBe(digestOf('s'))
    expect(document.references).toHaveLength(1)
  })

  it('does not ask for foreign layers, nor for content that is elsewhere', () => {
    const type = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
    const layers = [blob('f', { mediaType: type }), blob('u', { urls: ['https://x.example/y'] })]
    expect(parse(image({ layers })).references).toHaveLength(1)
  })

  it('refuses bytes that are a manifest and an index at once (CVE-2021-41190)', () => {
    expect(refusal(image({ manifests: [] }))).toMatch(/both/)
    expect(refusal({ schemaVersion: 2, manifests: [] }, mediaTypes.manifest)).toMatch(/members/)
    expect(refusal({ schemaVersion: 2, layers: [] }, mediaTypes.index)).toMatch(/members/)
    expect(refusal(image({ mediaType: mediaTypes.index }))).toMatch(/Content-Type/)
  })

  it('refuses a member in two spellings or given twice: parsers differ', () => {
    expect(refusal(image({ Layers: [] }))).toMatch(/expected member "layers"/)
    expect(refusal('{"mediaType":"a/b","mediaType":"a/b"}', 'a/b')).toMatch(/twice/)
    expect(refusal('{"mediaType":"a/b","\\u006dediaType":"c/d"}', 'a/b')).toMatch(/twice/)
  })

  it.each([
    ['a digest twice', '"layers":[{"digest":"sha256:1","digest":"sha256:2"}]', /digest" is given/],
    ['a digest in capitals', '"manifests":[{"Digest":"sha256:1"}]', /expected member "digest"/],
    ['a size with a long s', '"layers":[{"ſize":1}]', /expected member "size"/],
    ['two types', '"subject":{"mediaType":"a/b","mediaType":"c/d"}', /twice/],
  ])('refuses a descriptor with %s: parsers differ', (_, member, reason) => {
    expect(refusal(`{${member}}`, 'a/b')).toMatch(reason)
  })

  it('takes annotations whose names differ in case alone, and members of what it does not know', () => {
    const annotations = '{"Digest":"a","digest":"b"}'
    const document = JSON.stringify(image()).replace(
      '"size":3',
      `"size":3,"annotations":${annotations}`,
    )
    expect(parse(document).references).toHaveLength(2)
    expect(parse('{"x":[[{"digest":1,"digest":2}]]}', 'a/b').references).toEqual([])
  })

  it.each([
    ['the text of another kind', 'not json'],
    ['a byte order mark', '\ufeff{}'],
    ['an array', []],
    ['null', 'null'],
    ['mediaType as an array', image({ mediaType: ['a'] })],
    ['layers as an object', image({ layers: {} })],
    ['a negative size', image({ layers: [blob('l', { size: -1 })] })],
    ['a fractional size', image({ layers: [blob('l', { size: 1.5 })] })],
    ['a size past 2^53', image({ layers: [blob('l', { size: 2 ** 60 })] })],
    ['a digest in upper case', image({ layers: [blob('l', { digest: 'sha256:AB' })] })],
    ['annotations that are no strings', image({ annotations: { a: 1 } })],
    ['a subject that is no descriptor', image({ subject: 'x' })],
    ['a schema version as text', image({ schemaVersion: '2' })],
    ['schema version 1', { schemaVersion: 1, signatures: [], mediaType: mediaTypes.manifest }],
  ])('refuses %s', (_, document) => {
    expect(refusal(document)).toMatch(/^Cannot parse manifest/)
  })

  it('refuses invalid UTF-8', () => {
    const bytes = Buffer.concat([
      Buffer.from('{"a":"'),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}'),
    ])
    expect(() => parseManifestDocument(bytes, 'a/b')).toThrow(/UTF-8/)
  })

  it.each(['a/b\r\nX: y', 'text', 'a/<script>', `a/${'b'.repeat(200)}`, 'a/b; c=d'])(
    'refuses the type %j, wherever it is said',
    type => {
      expect(refusal({ schemaVersion: 2, mediaType: type }, '')).toMatch(/a type like/)
      expect(refusal({ schemaVersion: 2 }, type)).toMatch(/a type like/)
    },
  )

  it('refuses a document without any type', () => {
    expect(refusal({ schemaVersion: 2, layers: [] }, '')).toMatch(/Content-Type/)
  })

  it('refuses 4 MiB of "[" and 100 000 levels at once', () => {
    const started = performance.now()
    expect(refusal('['.repeat(4 * 1024 * 1024))).toMatch(/nesting/)
    expect(refusal(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`)).toMatch(/nesting/)
    expect(performance.now() - started).toBeLessThan(2000)
  })

  it('refuses an index of 50 000 manifests', () => {
    const manifests = Array.from({ length: 50_000 }, (_, i) => ({
      mediaType: mediaTypes.manifest,
      digest: digestOf(`${i}`),
      size: 1,
    }))
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests }
    expect(refusal(index, mediaTypes.index)).toMatch(/at most/)
  })

  it('keeps names like "__proto__" as plain annotations', () => {
    const annotations = '{"__proto__":"a","constructor":"b","toString":"c"}'
    const document = parse(`{"schemaVersion":2,"annotations":${annotations}}`, 'a/b')
    expect(JSON.stringify(document.annotations)).toBe(annotations)
    expect(Object.hasOwn(Object.prototype, 'a')).toBe(false)
  })
})

describe('scanJson()', () => {
  const scan = (text: string) => {
    const seen: (readonly [ScannedObject, readonly string[]])[] = []
    const depth = scanJson(Buffer.from(text), 10, (kind, members) => seen.push([kind, members]))
    return { depth, seen }
  }

  it('sees members of the document and of descriptors only, strings and escapes notwithstanding', () => {
    expect(scan('{"a":{"b":{"c":1}},"d\\"":"}{","e" : [ {"f":{"g":2}},[{"h":1}] ]}').seen).toEqual([
      ['descriptor', ['b']],
      ['descriptor', ['f']],
      ['document', ['a', 'd"', 'e']],
    ])
  })

  it('counts levels', () => {
    expect(scan('{"a":[[1]]}').depth).toBe(3)
    expect(scan('"[[[["').depth).toBe(0)
  })

  it('ends on text that never closes', () => {
    expect(scan('{"a":"\\').seen).toEqual([])
    expect(scan('"').depth).toBe(0)
  })
})
