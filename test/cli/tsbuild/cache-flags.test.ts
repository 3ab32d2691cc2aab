import { describe, expect, test } from 'vitest'
import { parseCacheFrom } from '../../../src/cli/tsbuild/cache/cache-from.ts'
import { parseCacheTo } from '../../../src/cli/tsbuild/cache/cache-to.ts'
import { createRegistryClient } from '../../../src/registry/client/client.ts'

const world = {
  client: createRegistryClient({ userAgent: 'tsbuild/test' }),
  lookup: () => undefined,
  offline: false,
}

describe('--cache-from and --cache-to', () => {
  test('a bare name is a repository', () => {
    expect(parseCacheFrom(['example.com/app:cache'], world)[0]?.name).toBe('example.com/app:cache')
    const { destinations, inline } = parseCacheTo(['example.com/app'], world)
    expect(inline).toBe(false)
    expect(destinations).toMatchObject([{ kind: 'registry', mode: 'min', ignoreError: false }])
  })

  test('each setting is taken', () => {
    const text =
      'type=registry,ref=a.b/c,mode=max,image-manifest=false,compression=uncompressed,ignore-error=true'
    const { destinations } = parseCacheTo(['type=inline', text], world)
    expect(destinations).toMatchObject([
      {
        mode: 'max',
        form: { kind: 'list', types: 'oci' },
        layers: { compression: 'none' },
        ignoreError: true,
      },
    ])
    expect(parseCacheTo(['type=inline', text], world).inline).toBe(true)
  })

  test('--offline: nothing goes to the network, and a bucket is not there', async () => {
    const offline = { ...world, offline: true }
    for (const text of ['a.b/c', 'type=s3,bucket=abc']) {
      expect(() => parseCacheTo([text], offline)).toThrow('allows no network')
    }
    expect(parseCacheTo(['type=local,dest=/x', 'type=inline'], offline).destinations).toHaveLength(
      1,
    )
    const [bucket] = parseCacheFrom(['type=s3,bucket=abc'], offline)
    const { signal } = new AbortController()
    await expect(bucket?.read({ platforms: [], signal })).rejects.toThrow('no network')
  })

  test('a bucket is named with its prefix', () => {
    const text =
      'type=s3,bucket=abc,prefix=a/b/,region=x,endpoint_url=http://127.0.0.1:1,name=one;two'
    expect(parseCacheFrom([text], world)[0]?.name).toBe('s3://abc/a/b:one;two')
  })

  test.each([
    ['type=gha', 'type=gha is not supported'],
    ['type=azblob,name=a', 'type=azblob is not supported'],
    ['type=registry', 'it has no ref='],
    ['type=registry,ref=', 'it has no ref='],
    ['type=registry,ref=A', 'lower'],
    ['type=local,ref=a', 'dest=…'],
    ['type=local,dest=/x,mode=all', 'expected one of min, max'],
    ['type=local,dest=/x,ignore-error=maybe', 'ignore-error'],
    ['type=inline,mode=max', 'layers of its own steps alone'],
    ['type=registry,ref=a,image-manifest=true,oci-mediatypes=false', 'needs oci-mediatypes=true'],
    ['type=local,dest=/x,compression=estargz', 'as its steps made them'],
    ['type=s3', 'it has no bucket='],
    ['type=s3,bucket=X', 's3://BUCKET'],
    ['type=s3,bucket=abc,name=../a', 'between slashes'],
    ['type=s3,bucket=abc,touch_refresh=1h', 'upload_parallelism=…'],
    ['type=tape', 'got "tape"'],
  ])('--cache-to %s is refused', (text, message) => {
    expect(() => parseCacheTo([text], world)).toThrow(message)
  })

  test.each([
    'type=s3,secret_access_key=hush,session_token=hush,mode=max',
    'type=s3,bucket=abc,"secret_access_key=hush,hush",name=../a',
    'type=s3,bucket=abc,secret_acess_key=hush',
    'type=s3,bucket=abc,secret_access_key=hush,mode=all',
  ])('--cache-to %s is refused without its secrets', text => {
    const said = () => parseCacheTo([text], world)
    expect(said).toThrow(/=\*\*\*/)
    expect(said).not.toThrow('hush')
  })

  test.each([
    ['type=inline', 'got "inline"'],
    ['type=local,dest=/x', 'src=…'],
    ['type=local,src=/x,digest=sha256:1', 'digest'],
  ])('--cache-from %s is refused', (text, message) => {
    expect(() => parseCacheFrom([text], world)).toThrow(message)
  })
})
