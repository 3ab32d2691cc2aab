import { describe, expect, it } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { printable } from '../../src/oci/errors.ts'
import { encodeImageConfig, parseImageConfig } from '../../src/oci/image-config.ts'
import { compressionOf, isForeignLayer, isIndex, mediaTypes } from '../../src/oci/media-type.ts'
import {
  formatPlatform,
  hostPlatform,
  parsePlatform,
  platformDistance,
} from '../../src/oci/platform.ts'

describe('parsePlatform()', () => {
  it.each([
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['amd64', 'linux/amd64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['Windows/AMD64', 'windows/amd64'],
  ])('reads %s as %s', (text, normal) => {
    expect(formatPlatform(parsePlatform(text))).toBe(normal)
  })

  it.each(['', '/', 'linux/', 'a/b/c/d', 'linux/amd64\n', 'linux/a b'])('refuses %j', text => {
    expect(() => parsePlatform(text)).toThrow('Cannot parse platform')
  })

  it('names this machine in Go’s words', () => {
    expect(formatPlatform(hostPlatform('x64'))).toBe('linux/amd64')
    expect(formatPlatform(hostPlatform('arm64'))).toBe('linux/arm64')
  })
})

describe('parsePlatform() of names that every object has', () => {
  it.each([
    ['__proto__', 'linux/__proto__'],
    ['constructor/toString', 'constructor/tostring'],
    ['linux/__proto__', 'linux/__proto__'],
  ])('%s is only a name', (text, name) => {
    expect(formatPlatform(parsePlatform(text))).toBe(name)
  })
})

describe('platformDistance()', () => {
  it('runs older variants of arm, never newer ones nor other systems', () => {
    const distance = (want: string, have: string) =>
      platformDistance(parsePlatform(want), parsePlatform(have))
    expect(distance('linux/arm/v7', 'linux/arm/v7')).toBe(0)
    expect(distance('linux/arm/v7', 'linux/arm/v6')).toBe(1)
    expect(distance('linux/arm/v6', 'linux/arm/v7')).toBeUndefined()
    expect(distance('linux/amd64', 'windows/amd64')).toBeUndefined()
  })
})

describe('parseImageConfig()', () => {
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Env: ['A=1'], Cmd: null, Healthcheck: { Test: ['NONE'] } },
    rootfs: { type: 'layers', diff_ids: [digestOf('l')] },
    history: [{ created_by: 'x', empty_layer: true }],
    'vendor.field': { kept: true },
  }
  const parse = (value: unknown) => parseImageConfig(Buffer.from(JSON.stringify(value)))

  it('takes null for absent, as Go writes it, and keeps fields it does not know (O08)', () => {
    const { value } = parse(config)
    expect(value.config.Cmd).toBeUndefined()
    expect(value.config.Healthcheck).toEqual({ Test: ['NONE'] })
    const again = parseImageConfig(encodeImageConfig(value))
    expect(again.value).toEqual(value)
    expect(again.value.extra).toEqual({ 'vendor.field': { kept: true } })
  })

  it.each([
    [{ ...config, os: 1 }, 'os: expected a string'],
    [{ ...config, rootfs: { diff_ids: {} } }, 'rootfs.diff_ids: expected an array'],
    [{ ...config, rootfs: { diff_ids: ['x'] } }, 'rootfs.diff_ids[0]: expected a digest'],
    [{ ...config, config: { Env: 'A=1' } }, 'config.Env: expected an array'],
    [{ ...config, config: { Env: [1] } }, 'config.Env[0]: expected a string'],
    [{ ...config, history: [{ empty_layer: 'yes' }] }, 'history[0].empty_layer'],
  ])('refuses %#, naming the field', (value, message) => {
    expect(() => parse(value)).toThrow(message)
  })
})

describe('media types', () => {
  it('A1 tell how a layer is packed, OCI’s and Docker’s alike', () => {
    expect(compressionOf(mediaTypes.layer)).toBe('none')
    expect(compressionOf(mediaTypes.layerGzip)).toBe('gzip')
    expect(compressionOf(mediaTypes.layerZstd)).toBe('zstd')
    expect(compressionOf(mediaTypes.dockerLayerGzip)).toBe('gzip')
    expect(compressionOf('text/plain')).toBeUndefined()
    expect(isForeignLayer(mediaTypes.dockerForeignGzip)).toBe(true)
    expect(isIndex(mediaTypes.dockerIndex)).toBe(true)
  })
})

describe('printable()', () => {
  it('leaves nothing that moves a cursor or breaks a line', () => {
    expect(printable('a\u001b[31m\r\n\u009b\u2028b')).toBe(
      'a\\u001b[31m\\u000d\\u000a\\u009b\\u2028b',
    )
    expect(printable('x'.repeat(300), 10)).toBe(`${'x'.repeat(10)}…`)
  })
})
