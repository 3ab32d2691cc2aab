import { afterAll, describe, expect, it } from 'vitest'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { content, imageOf, indexOf, pushBlob, pushManifest } from './contents.ts'
import { startRegistry } from './registry-server.ts'

const registry = await startRegistry()
afterAll(() => registry[Symbol.asyncDispose]())
const send = registry.send

let serial = 0
const image = (extra: object = {}) =>
  imageOf([content(`layer ${serial++}`)], { annotations: { n: `${serial}` }, ...extra })
const put = (reference: string, manifest = image(), headers: Record<string, string> = {}) =>
  send('PUT', `/v2/repo/manifests/${reference}`, {
    headers: { 'content-type': manifest.mediaType, ...headers },
    body: manifest.bytes,
  })

describe('pushing a manifest (end-7)', () => {
  it('by tag, and getting the exact bytes back by tag and digest', async () => {
    const manifest = image({ zzz: 'kept', a: 1 })
    const spaced = content(`${manifest.bytes} \n`, mediaTypes.manifest)
    const answer = await put('exact', spaced)
    expect(answer.status).toBe(201)
    expect(answer.headers).toMatchObject({
      location: `/v2/repo/manifests/${spaced.digest}`,
      'docker-content-digest': spaced.digest,
    })
    for (const reference of ['exact', spaced.digest]) {
      for (const method of ['GET', 'HEAD']) {
        const got = await send(method, `/v2/repo/manifests/${reference}`)
        expect(got.status).toBe(200)
        expect(got.headers).toMatchObject({
          'content-type': mediaTypes.manifest,
          'content-length': String(spaced.bytes.length),
          'docker-content-digest': spaced.digest,
          etag: `"${spaced.digest}"`,
        })
        expect(got.body.equals(method === 'GET' ? spaced.bytes : Buffer.alloc(0))).toBe(true)
      }
    }
  })

  it.each(['sha256', 'sha512', 'blake3'] as const)(
    'by a %s digest, with tags (end-7b)',
    async algorithm => {
      const manifest = content(image().bytes, mediaTypes.manifest, algorithm)
      const tags = Array.from({ length: 12 }, (_, i) => `t${algorithm}-${i}`)
      const answer = await put(
        `${manifest.digest}?${tags.map(tag => `tag=${tag}`).join('&')}`,
        manifest,
      )
      expect(answer.status).toBe(201)
      expect(answer.headers['oci-tag']).toBe(tags.join(', '))
      for (const tag of tags) {
        const got = await send('HEAD', `/v2/repo/manifests/${tag}`)
        expect(got.headers['docker-content-digest']).toBe(manifest.digest)
      }
    },
  )

  it('ignores parameters of Content-Type', async () => {
    const manifest = image()
    const type = `${mediaTypes.manifest}; charset=utf-8`
    expect((await put('parameters', manifest, { 'content-type': type })).status).toBe(201)
    const got = await send('GET', '/v2/repo/manifests/parameters')
    expect(got.headers['content-type']).toBe(mediaTypes.manifest)
  })

  it('takes Docker schema 2, indexes of indexes, empty indexes, missing layers and children', async () => {
    const docker = content(
      JSON.stringify({
        ...JSON.parse(image().bytes.toString()),
        mediaType: mediaTypes.dockerManifest,
      }),
      mediaTypes.dockerManifest,
    )
    const index = indexOf([docker, image()])
    for (const manifest of [docker, index, indexOf([index]), indexOf([])]) {
      expect((await put(manifest.digest, manifest)).status).toBe(201)
      const got = await send('GET', `/v2/repo/manifests/${manifest.digest}`)
      expect(got.headers['content-type']).toBe(manifest.mediaType)
    }
  })

  it('takes 4 MB and refuses more than 4 MiB, said or not', async () => {
    const sized = (size: number) => {
      const bare = JSON.stringify({ schemaVersion: 2, annotations: { a: '' } })
      return content(bare.replace('""', `"${'a'.repeat(size - bare.length)}"`), 'a/b')
    }
    expect((await put('large', sized(4_000_000))).status).toBe(201)
    const huge = sized(4 * 1024 * 1024 + 1)
    for (const chunked of [false, true]) {
      const answer = await send('PUT', '/v2/repo/manifests/huge', {
        headers: { 'content-type': 'a/b' },
        body: huge.bytes,
        chunked,
      })
      expect(answer.status).toBe(413)
      expect(answer.json().errors[0]?.code).toBe('SIZE_INVALID')
    }
  })

  it('refuses bytes of another digest, a digest that is none, and two kinds at once', async () => {
    const manifest = image()
    const other = await put(image().digest, manifest)
    expect(other.status).toBe(400)
    expect(other.json().errors[0]?.code).toBe('DIGEST_INVALID')
    const bad = await put('sha256:baddigeststring', manifest)
    expect([bad.status, bad.json().errors[0]?.code]).toEqual([400, 'DIGEST_INVALID'])
    const confused = content(
      JSON.stringify({ ...JSON.parse(manifest.bytes.toString()), manifests: [] }),
      mediaTypes.manifest,
    )
    const both = await put('confused', confused)
    expect([both.status, both.json().errors[0]?.code]).toEqual([400, 'MANIFEST_INVALID'])
    const typed = await put('typed', manifest, { 'content-type': mediaTypes.index })
    expect(typed.status).toBe(400)
  })

  it.each([
    ['a header split', 'a/b\r\nx'],
    ['no type', 'text'],
    ['a long type', `a/${'b'.repeat(200)}`],
    ['another alphabet', 'a/<script>'],
  ])('refuses %s as Content-Type', async (_, type) => {
    const document = content('{"schemaVersion":2}')
    const answer = put('type', document, { 'content-type': type })
    await expect(answer.then(got => got.status))
      .resolves.toBe(400)
      .catch(error => {
        // Node's client itself refuses to send a line break.
        expect(String(error)).toMatch(/Invalid character/)
      })
  })

  it('refuses too many tags, a tag that is none, and tags beside a tag', async () => {
    const manifest = image()
    const many = Array.from({ length: 101 }, (_, i) => `tag=t${i}`).join('&')
    expect((await put(`${manifest.digest}?${many}`, manifest)).status).toBe(414)
    const invalid = await put(`${manifest.digest}?tag=ok&tag=-x`, manifest)
    expect([invalid.status, invalid.json().errors[0]?.code]).toEqual([400, 'TAG_INVALID'])
    expect((await send('HEAD', '/v2/repo/manifests/ok')).status).toBe(404)
    expect((await put('a?tag=b', manifest)).status).toBe(400)
  })

  it.each(['__proto__', 'constructor', 'toString'])('takes the tag "%s"', async tag => {
    const manifest = image()
    expect((await put(tag, manifest)).status).toBe(201)
    const got = await send('GET', `/v2/repo/manifests/${tag}`)
    expect(got.headers['docker-content-digest']).toBe(manifest.digest)
  })
})

describe('conditions on a push', () => {
  it('If-None-Match: * creates a tag once, also of twenty at the same time', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => put('once', image(), { 'if-none-match': '*' })),
    )
    const statuses = answers.map(answer => answer.status).sort()
    expect(statuses).toEqual([201, ...Array.from({ length: 19 }, () => 412)])
  })

  it('If-Match replaces only what the client has seen', async () => {
    const [first, second, third] = [image(), image(), image()]
    await put('cas', first)
    const ifMatch = (digest: string) => ({ 'if-match': `"${digest}"` })
    expect((await put('cas', second, ifMatch(first.digest))).status).toBe(201)
    const late = await put('cas', third, ifMatch(first.digest))
    expect([late.status, late.json().errors[0]?.code]).toEqual([412, 'PRECONDITION_FAILED'])
    const got = await send('GET', '/v2/repo/manifests/cas')
    expect(got.headers['docker-content-digest']).toBe(second.digest)
    expect((await put('cas-none', first, { 'if-match': '*' })).status).toBe(412)
    expect((await put('cas', third, { 'if-match': '*' })).status).toBe(201)
  })

  it('hold for each tag of a push by digest (zot 4266)', async () => {
    const [first, second] = [image(), image()]
    await put('taken', first)
    const answer = await put(`${second.digest}?tag=taken`, second, { 'if-none-match': '*' })
    expect(answer.status).toBe(412)
    const got = await send('GET', '/v2/repo/manifests/taken')
    expect(got.headers['docker-content-digest']).toBe(first.digest)
  })

  it('If-None-Match on a pull answers 304', async () => {
    const manifest = image()
    await put('known', manifest)
    const headers = { 'if-none-match': `"${manifest.digest}"` }
    expect((await send('GET', '/v2/repo/manifests/known', { headers })).status).toBe(304)
    expect((await send('GET', `/v2/repo/manifests/${image().digest}`, { headers })).status).toBe(
      404,
    )
  })
})

describe('deleting (end-9)', () => {
  it('a tag leaves the manifest and its other tags', async () => {
    const manifest = image()
    await put('gone', manifest)
    await put('stays', manifest)
    expect((await send('DELETE', '/v2/repo/manifests/gone')).status).toBe(202)
    expect((await send('HEAD', '/v2/repo/manifests/gone')).status).toBe(404)
    expect((await send('HEAD', '/v2/repo/manifests/stays')).status).toBe(200)
    expect((await send('DELETE', '/v2/repo/manifests/gone')).status).toBe(404)
  })

  it('a manifest takes its tags along and no others', async () => {
    const [manifest, other] = [image(), image()]
    for (const tag of ['d1', 'd2', 'moved']) await put(tag, manifest)
    await put('moved', other)
    expect((await send('DELETE', `/v2/repo/manifests/${manifest.digest}`)).status).toBe(202)
    for (const reference of [manifest.digest, 'd1', 'd2']) {
      const answer = await send('GET', `/v2/repo/manifests/${reference}`)
      expect([answer.status, answer.json().errors[0]?.code]).toEqual([404, 'MANIFEST_UNKNOWN'])
    }
    const moved = await send('HEAD', '/v2/repo/manifests/moved')
    expect(moved.headers['docker-content-digest']).toBe(other.digest)
    const list = await send('GET', '/v2/repo/tags/list')
    expect(list.body.toString()).not.toMatch(/"d1"|"d2"/)
  })

  it('and pushing again brings it back (registry 4.6 #14)', async () => {
    const manifest = image()
    for (let i = 0; i < 3; i++) {
      await put('again', manifest)
      expect((await send('GET', '/v2/repo/manifests/again')).status).toBe(200)
      await send('DELETE', `/v2/repo/manifests/${manifest.digest}`)
      expect((await send('GET', '/v2/repo/manifests/again')).status).toBe(404)
    }
  })

  it('of a manifest while it is being pushed leaves no dangling tag', async () => {
    const manifest = image()
    for (let i = 0; i < 20; i++) {
      await put('race', manifest)
      await Promise.all([
        put('race', manifest),
        send('DELETE', `/v2/repo/manifests/${manifest.digest}`),
      ])
      const tags = (await send('GET', '/v2/repo/tags/list')).body.toString()
      const got = await send('GET', '/v2/repo/manifests/race')
      if (tags.includes('"race"')) expect(got.status).toBe(200)
      else expect(got.status).toBe(404)
    }
  })
})

describe('a manifest', () => {
  it('is no blob, and a blob is no manifest', async () => {
    const manifest = image()
    await put('kind', manifest)
    expect((await send('GET', `/v2/repo/blobs/${manifest.digest}`)).status).toBe(404)
    const blob = content(image().bytes)
    await pushBlob(registry, 'repo', blob)
    expect((await send('GET', `/v2/repo/manifests/${blob.digest}`)).status).toBe(404)
  })

  it('of another repository is unknown', async () => {
    const manifest = image()
    await put('here', manifest)
    expect((await send('GET', `/v2/other/manifests/${manifest.digest}`)).status).toBe(404)
  })
})

describe('a registry that refuses missing references', () => {
  it('names each of them, and wants neither subjects nor foreign layers', async () => {
    await using strict = await startRegistry({ missingReferences: 'refuse' })
    const layer = content('a layer')
    const manifest = imageOf([layer], {
      subject: { mediaType: mediaTypes.manifest, digest: content('s').digest, size: 1 },
    })
    const target = { repository: 'r', reference: 'x' }
    const refused = await pushManifest(strict, target, manifest)
    expect(refused.status).toBe(400)
    expect(refused.json().errors.map(error => error.code)).toEqual([
      'MANIFEST_BLOB_UNKNOWN',
      'MANIFEST_BLOB_UNKNOWN',
    ])
    await pushBlob(strict, 'r', layer)
    await pushBlob(strict, 'r', content(JSON.stringify({ os: 'linux', architecture: 'amd64' })))
    expect((await pushManifest(strict, target, manifest)).status).toBe(201)
    expect((await pushManifest(strict, target, indexOf([manifest, imageOf([])]))).status).toBe(400)
    expect((await pushManifest(strict, target, indexOf([manifest]))).status).toBe(201)
  })
})

describe('large manifests', () => {
  const large = (n: number) =>
    content(
      JSON.stringify({ schemaVersion: 2, annotations: { n: `${n}`, a: 'x'.repeat(1_000_000) } }),
      'a/b',
    )

  it('wait for each other, all sixty of them', async () => {
    await using own = await startRegistry({ largeBodies: { count: 2, waitMs: 3000 } })
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        pushManifest(own, { repository: 'r', reference: `t${i}` }, large(i)),
      ),
    )
    expect(answers.every(answer => answer.status === 201)).toBe(true)
  })

  it('are told to come again when none ends; small ones are let through', async () => {
    await using own = await startRegistry({ largeBodies: { count: 1, waitMs: 200 } })
    const head =
      'PUT /v2/r/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 900000\r\n\r\n'
    const holding = own.raw(head + 'x'.repeat(100_000), 1500)
    await new Promise(resolve => setTimeout(resolve, 200))
    const refused = await pushManifest(own, { repository: 'r', reference: 'l' }, large(1))
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '5'])
    expect((await pushManifest(own, { repository: 'r', reference: 's' }, image())).status).toBe(201)
    await holding
    await expect
      .poll(
        async () => (await pushManifest(own, { repository: 'r', reference: 'l' }, large(1))).status,
      )
      .toBe(201)
  })
})
