import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { annotationsOf } from '../../../src/builder/export/image-options.ts'
import type { ImageOutput, Output } from '../../../src/builder/export/output.ts'
import { checkOutputs } from '../../../src/cli/tsbuild/check-outputs.ts'
import { parseOutputs } from '../../../src/cli/tsbuild/outputs.ts'
import { parsePlatforms } from '../../../src/cli/tsbuild/request.ts'
import { formatPlatform, parsePlatform } from '../../../src/oci/platform.ts'

interface Given {
  readonly output?: readonly string[]
  readonly push?: boolean
  readonly load?: boolean
  readonly tag?: readonly string[]
  readonly annotation?: readonly string[]
  readonly dockerHost?: string
}

function outputsOf({ dockerHost, ...flags }: Given): Output[] {
  const all = { output: [], push: false, load: false, tag: [], annotation: [], ...flags }
  return parseOutputs(all, {
    stdout: new PassThrough(),
    lookup: name => (name === 'DOCKER_HOST' ? dockerHost : undefined),
  })
}

function optionsOf(given: Given): ImageOutput['options'] {
  const [output] = outputsOf(given)
  if (output === undefined || !('options' in output)) throw new Error('no image')
  return output.options
}

const refuse = (given: Given) => expect(() => outputsOf(given))

describe('parseOutputs()', () => {
  test('lets two outputs not have one file, nor both standard output', () => {
    const both = (...output: string[]) => refuse({ output })
    both('type=oci,dest=/tmp/a.tar', 'type=docker,dest=/tmp/../tmp/a.tar').toThrow(
      'Cannot write two outputs to "/tmp/../tmp/a.tar": give each a dest of its own',
    )
    both('-', 'type=oci,dest=-').toThrow('Cannot write two outputs to standard output')
    expect(outputsOf({ output: ['type=oci,dest=/tmp/a.tar', '-'] })).toHaveLength(2)
  })

  test('refuses places that nothing can be written to', () => {
    const refused = (output: string) => refuse({ output: [output] })
    refused('type=oci,dest=/no/such/a.tar').toThrow('there is no directory "/no/such"')
    refused('type=tar,dest=/tmp').toThrow('Cannot write "/tmp": it is a directory')
    refused('type=local,dest=/dev/null').toThrow('Cannot write "/dev/null": it is no directory')
  })

  test('without any flag the image goes into the store', () => {
    expect(outputsOf({})).toMatchObject([
      { kind: 'image', names: [], options: { compression: 'gzip', types: 'oci', force: false } },
    ])
  })

  test('takes how the image is written', () => {
    const text =
      'type=image,name=a,compression=uncompressed,force-compression=true,oci-mediatypes=false,rewrite-timestamp=true'
    expect(optionsOf({ output: [text] })).toEqual({
      compression: 'none',
      force: true,
      types: 'docker',
      annotations: [],
      rewriteTimestamp: true,
    })
    expect(optionsOf({ output: ['type=image,compression-level=9'] }).level).toBe(9)
  })

  test('push=true also pushes; push-by-digest sets no tag', () => {
    const output = ['type=image,name=localhost:5000/a,push=true,push-by-digest=true']
    expect(outputsOf({ output })).toMatchObject([
      { kind: 'image', names: [] },
      { kind: 'registry', byDigest: true, names: [{ repository: 'a' }] },
    ])
    refuse({ output: ['type=registry,name=localhost:5000/a:1,push-by-digest=true'] }).toThrow(
      "can't push tagged ref localhost:5000/a:1 by digest",
    )
    expect(outputsOf({ output: ['type=image,name=localhost:5000/a:1'] })).toHaveLength(1)
  })

  test('--push and --load write the image as the other output does', () => {
    const outputs = outputsOf({
      output: ['type=image,compression-level=1'],
      tag: ['a'],
      push: true,
      load: true,
    })
    expect(outputs.map(({ kind }) => kind)).toEqual(['image', 'registry', 'engine'])
    for (const output of outputs) expect(output).toMatchObject({ options: { level: 1 } })
  })

  test('--load goes to DOCKER_HOST, and alone leaves nothing in the store', () => {
    expect(outputsOf({ load: true })).toMatchObject([
      { kind: 'engine', address: 'unix:///var/run/docker.sock' },
    ])
    expect(outputsOf({ load: true, dockerHost: 'tcp://127.0.0.1:1' })).toMatchObject([
      { kind: 'engine', address: 'tcp://127.0.0.1:1' },
    ])
    refuse({ load: true, dockerHost: 'ssh://x' }).toThrow('ssh://x')
  })

  test.each([
    ['type=image,compression=lzma', 'expected gzip, estargz, zstd or uncompressed'],
    ['type=image,compression=zstd,compression-level=0', 'expected 1 to 22'],
    ['type=image,compression-level=10', 'expected 0 to 9'],
    ['type=image,oci-mediatypes=maybe', 'Cannot use oci-mediatypes'],
    ['type=image,annotation-layer.a=b', 'got "layer"'],
    ['type=image,anotation.a=b', 'got "anotation.a=b"'],
    ['type=oci,tar=false', 'needs a directory: dest=DIR'],
    ['type=docker,tar=false,dest=x', 'leave tar=false out'],
    ['type=registry', 'needs a name'],
  ])('refuses %s', (output, message) => {
    refuse({ output: [output] }).toThrow(message)
  })
})

describe('annotations', () => {
  test('are of manifests unless they say of what, and of which platform', () => {
    const options = optionsOf({
      output: ['type=oci,dest=x,annotation-index.i=1,"annotation-manifest[linux/arm64].m=a,b"'],
      annotation: ['k=v=w', 'index,manifest-descriptor[linux/amd64]:both=1', 'a.b:c=d'],
    })
    const arm = parsePlatform('linux/arm64')
    const amd = parsePlatform('linux/amd64')
    expect(annotationsOf(options, 'index').annotations).toEqual({ i: '1', both: '1' })
    expect(annotationsOf(options, 'manifest', arm).annotations).toEqual({
      k: 'v=w',
      'a.b:c': 'd',
      m: 'a,b',
    })
    expect(annotationsOf(options, 'manifest-descriptor', amd).annotations).toEqual({ both: '1' })
    expect(annotationsOf(options, 'manifest-descriptor', arm)).toEqual({})
  })

  test('are refused where they would be lost', () => {
    refuse({ output: ['type=local,dest=x'], annotation: ['a=b'] }).toThrow('no output is one')
    refuse({ annotation: ['a'] }).toThrow('expected [TYPE:]KEY=VALUE')
    refuse({ annotation: ['indx:a=b'] }).toThrow('got "indx"')
  })
})

describe('checkOutputs()', () => {
  const check = (
    given: Given,
    platform: string,
    buildArgs: Readonly<Record<string, string>> = {},
  ) =>
    checkOutputs(outputsOf(given), {
      platforms: parsePlatforms(platform),
      buildArgs: new Map(Object.entries(buildArgs)),
    })

  test('several platforms, and BUILDKIT_MULTI_PLATFORM, make an index', () => {
    expect(check({}, 'linux/amd64')).toMatchObject({ asIndex: false })
    expect(check({}, 'linux/amd64,linux/arm64')).toMatchObject({ asIndex: true })
    expect(check({}, 'linux/amd64', { BUILDKIT_MULTI_PLATFORM: '1' })).toMatchObject({
      asIndex: true,
      needsEpoch: false,
      needsFiles: false,
    })
  })

  test('what cannot be is refused before anything is built', () => {
    const two = 'linux/amd64,linux/arm64'
    expect(() => check({ load: true }, two)).toThrow('Docker cannot load')
    expect(() => check({ output: ['type=docker,dest=x'] }, two)).toThrow('Docker cannot load')
    expect(() => check({ annotation: ['index:a=b'] }, 'linux/amd64')).toThrow(
      'index annotations not supported for single platform export',
    )
    expect(() => check({ annotation: ['manifest[linux/s390x]:a=b'] }, two)).toThrow(
      'linux/s390x: that platform is not built',
    )
    const docker = { output: ['type=image,oci-mediatypes=false'], annotation: ['a=b'] }
    expect(() => check(docker, two)).toThrow("need OCI's media types")
    const rewriting = { output: ['type=image,rewrite-timestamp=true'] }
    expect(check(rewriting, two)).toEqual({ asIndex: true, needsEpoch: true, needsFiles: true })
  })
})

describe('parsePlatforms()', () => {
  test('keeps the order, each once; local is this machine’s', () => {
    const names = (text: string | undefined) => parsePlatforms(text).map(formatPlatform)
    expect(names('linux/arm64, amd64,linux/arm64/v8')).toEqual(['linux/arm64', 'linux/amd64'])
    expect(names('local')).toEqual(names(undefined))
    expect(() => names('linux/amd64,')).toThrow('Cannot parse platform ""')
  })
})
