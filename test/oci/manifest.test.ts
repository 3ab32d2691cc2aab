import { describe, expect, it } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { type Index, parseManifest, selectManifest } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parsePlatform } from '../../src/oci/platform.ts'

const descriptor = { mediaType: mediaTypes.config, digest: digestOf('x'), size: 1 }
const manifest = {
  schemaVersion: 2,
  mediaType: mediaTypes.manifest,
  config: descriptor,
  layers: [{ ...descriptor, mediaType: mediaTypes.layerGzip }],
}
const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [descriptor] }

function parse(value: unknown, mediaType = '') {
  return parseManifest(Buffer.from(JSON.stringify(value)), mediaType)
}

describe('parseManifest()', () => {
  it('keeps the bytes and their digest, whatever order and unknown fields they have', () => {
    const bytes = Buffer.from(` {"x":1, ${JSON.stringify(manifest).slice(1)}`)
    const document = parseManifest(bytes, mediaTypes.manifest)
    expect(document.digest).toBe(digestOf(bytes))
    expect(document.bytes).toBe(bytes)
    expect(document.value).toMatchObject({ kind: 'manifest', layers: [{ size: 1 }] })
  })

  it('takes null for no layers, as BuildKit writes it; a manifest without them is none', () => {
    expect(parse({ ...manifest, layers: null }).value).toMatchObject({ layers: [] })
    const { layers: _, ...rest } = manifest
    expect(() => parse(rest, mediaTypes.manifest)).toThrow('layers')
  })

  it('tells a manifest from an index when nothing says which it is', () => {
    const { mediaType: _, ...rest } = manifest
    expect(parse(rest).value.mediaType).toBe(mediaTypes.manifest)
    expect(parse({ schemaVersion: 2, manifests: [] }).value.mediaType).toBe(mediaTypes.index)
  })

  it('refuses what could be read as both (CVE-2021-41190)', () => {
    expect(() => parse({ ...manifest, manifests: [] })).toThrow('neither a manifest nor an index')
    expect(() => parse(manifest, mediaTypes.index)).toThrow('as served')
    expect(() => parse({ ...index, mediaType: mediaTypes.manifest })).toThrow('the members of')
  })

  it.each([
    [{ ...manifest, schemaVersion: 1 }, 'schemaVersion: expected 2'],
    [{ ...manifest, layers: {} }, 'layers: expected an array'],
    [{ ...manifest, layers: [{ ...descriptor, size: -1 }] }, 'layers[0].size'],
    [{ ...manifest, layers: [{ ...descriptor, size: 2 ** 60 }] }, 'layers[0].size'],
    [{ ...manifest, layers: [{ ...descriptor, size: '1' }] }, 'layers[0].size'],
    [{ ...manifest, layers: [{ ...descriptor, digest: 'sha256:../x' }] }, 'layers[0].digest'],
    [{ ...manifest, config: null }, 'config: expected an object'],
    [{ ...manifest, annotations: { a: 1 } }, 'annotations.a: expected a string'],
    [[], 'expected an object'],
    ['text', 'expected an object'],
  ])('refuses %#, naming the field', (value, message) => {
    expect(() => parse(value)).toThrow(message)
  })

  it('refuses bytes that are no UTF-8 JSON', () => {
    for (const bytes of [Buffer.from([0xff, 0xfe]), Buffer.from('{'), Buffer.alloc(0)]) {
      expect(() => parseManifest(bytes, '')).toThrow('not valid UTF-8 JSON')
    }
  })
})

describe('selectManifest()', () => {
  const of = (platform: string) => ({
    ...descriptor,
    digest: digestOf(platform),
    platform: parsePlatform(platform),
  })
  const list = (...platforms: string[]): Index => ({
    kind: 'index',
    mediaType: mediaTypes.index,
    manifests: platforms.map(of),
  })

  it('takes the exact platform, or the best that runs on it', () => {
    const arms = list('linux/arm/v5', 'linux/arm/v6', 'linux/amd64', 'linux/arm64')
    expect(selectManifest(arms, parsePlatform('linux/arm/v7'))).toEqual(of('linux/arm/v6'))
    expect(selectManifest(arms, parsePlatform('linux/amd64'))).toEqual(of('linux/amd64'))
    expect(selectManifest(arms, parsePlatform('linux/arm64/v8'))).toEqual(of('linux/arm64'))
  })

  it('refuses a platform that is not there, naming those that are', () => {
    const index = list('linux/amd64', 'unknown/unknown')
    expect(() => selectManifest(index, parsePlatform('linux/riscv64'))).toThrow(
      'Cannot find platform linux/riscv64 in the index: it has linux/amd64',
    )
  })
})
