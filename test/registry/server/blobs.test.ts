import { createHash, randomBytes } from 'node:crypto'
import { afterAll, describe, expect, it } from 'vitest'
import { blobRecordKey } from '../../../src/registry/storage/keys.ts'
import { content, pushBlob } from './contents.ts'
import { startRegistry } from './registry-server.ts'

const registry = await startRegistry()
afterAll(() => registry[Symbol.asyncDispose]())
const send = registry.send

describe('mounting a blob (end-11)', () => {
  it('links it from the named repository', async () => {
    const blob = content(randomBytes(10))
    await pushBlob(registry, 'source', blob)
    const target = `/v2/target/blobs/uploads/?mount=${blob.digest}&from=source`
    const answer = await send('POST', target)
    expect(answer.status).toBe(201)
    expect(answer.headers.location).toBe(`/v2/target/blobs/${blob.digest}`)
    expect((await send('GET', `/v2/target/blobs/${blob.digest}`)).body.equals(blob.bytes)).toBe(
      true,
    )
    await send('DELETE', `/v2/source/blobs/${blob.digest}`)
    expect((await send('GET', `/v2/target/blobs/${blob.digest}`)).status).toBe(200)
  })

  it('finds a repository that has it when none is named', async () => {
    const blob = content(randomBytes(10))
    const target = `/v2/target/blobs/uploads/?mount=${blob.digest}`
    expect((await send('POST', target)).status).toBe(202)
    await pushBlob(registry, 'some/where', blob)
    expect((await send('POST', target)).status).toBe(201)
    expect((await send('HEAD', `/v2/target/blobs/${blob.digest}`)).status).toBe(200)
  })

  it('starts an upload when the repository has it not', async () => {
    const blob = content(randomBytes(10))
    await pushBlob(registry, 'source', blob)
    const answer = await send('POST', `/v2/t/blobs/uploads/?mount=${blob.digest}&from=other`)
    expect(answer.status).toBe(202)
    const put = await send('PUT', `${answer.headers.location}?digest=${blob.digest}`, {
      body: blob.bytes,
    })
    expect(put.status).toBe(201)
  })

  it('refuses a source that is no name, and two of anything', async () => {
    const { digest } = content('x')
    for (const query of [
      `mount=${digest}&from=../x`,
      `mount=${digest}&mount=${digest}`,
      `mount=${digest}&from=a&from=b`,
      'mount=x',
    ]) {
      expect((await send('POST', `/v2/t/blobs/uploads/?${query}`)).status).toBe(400)
    }
  })
})

describe('pulling a blob (end-2)', () => {
  const blob = content(randomBytes(2048))
  const path = `/v2/pull/blobs/${blob.digest}`
  const get = async (headers: Record<string, string>, method = 'GET') => {
    await pushBlob(registry, 'pull', blob)
    return send(method, path, { headers })
  }

  it('gives a range', async () => {
    const answer = await get({ range: 'bytes=500-1499' })
    expect(answer.status).toBe(206)
    expect(answer.headers).toMatchObject({
      'content-range': 'bytes 500-1499/2048',
      'content-length': '1000',
    })
    expect(answer.body.equals(blob.bytes.subarray(500, 1500))).toBe(true)
    expect((await get({ range: 'bytes=-500' })).body.equals(blob.bytes.subarray(1548))).toBe(true)
  })

  it('answers 416 with the length for a range it has not', async () => {
    const answer = await get({ range: 'bytes=5000-10000' })
    expect(answer.status).toBe(416)
    expect(answer.headers['content-range']).toBe('bytes */2048')
  })

  it('answers a thousand ranges with the whole', async () => {
    const ranges = Array.from({ length: 1000 }, () => '0-').join(',')
    const answer = await get({ range: `bytes=${ranges}` })
    expect(answer.status).toBe(200)
    expect(answer.body.length).toBe(2048)
  })

  it('answers 304 to who has it, and honours If-Range', async () => {
    expect((await get({ 'if-none-match': `"${blob.digest}"` })).status).toBe(304)
    expect((await get({ 'if-none-match': `W/"x", "${blob.digest}"` }, 'HEAD')).status).toBe(304)
    expect((await get({ range: 'bytes=0-1', 'if-range': `"${blob.digest}"` })).status).toBe(206)
    expect((await get({ range: 'bytes=0-1', 'if-range': '"other"' })).status).toBe(200)
  })

  it('may be kept by its client alone, and by no cache on the way', async () => {
    expect((await get({})).headers['cache-control']).toMatch(/^private, /)
    expect((await get({}, 'HEAD')).headers['cache-control']).toMatch(/^private, /)
  })

  it('cannot be shown as a page by a browser', async () => {
    expect((await get({})).headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
    })
  })

  it('is never compressed on the way', async () => {
    const answer = await get({ 'accept-encoding': 'zstd,gzip,deflate' })
    expect(answer.headers['content-encoding']).toBeUndefined()
    expect(answer.headers['content-length']).toBe('2048')
  })

  it('of another repository is unknown: a digest alone opens nothing', async () => {
    await get({})
    const answer = await send('GET', `/v2/elsewhere/blobs/${blob.digest}`)
    expect(answer.status).toBe(404)
    expect(answer.json().errors[0]).toMatchObject({
      code: 'BLOB_UNKNOWN',
      detail: { digest: blob.digest },
    })
  })

  it('is 404 at once after DELETE (end-10), and the second DELETE too', async () => {
    await get({})
    expect((await send('DELETE', path)).status).toBe(202)
    expect((await send('HEAD', path)).status).toBe(404)
    expect((await send('DELETE', path)).status).toBe(404)
  })

  it('whose bytes were lost is unknown, and pushing it again repairs it (registry 4.6 #1)', async () => {
    const lost = content(randomBytes(100))
    await pushBlob(registry, 'lost', lost)
    const record = await registry.objects.get(blobRecordKey(lost.digest))
    const { key } = JSON.parse(Buffer.from(record?.bytes ?? []).toString())
    await registry.objects.put(key, Buffer.from('short'))
    expect((await send('HEAD', `/v2/lost/blobs/${lost.digest}`)).status).toBe(404)
    expect((await pushBlob(registry, 'lost', lost)).status).toBe(201)
    const again = await send('GET', `/v2/lost/blobs/${lost.digest}`)
    expect(createHash('sha256').update(again.body).digest('hex')).toBe(lost.digest.slice(7))
  })

  it('with an empty record (registry 4.6 #5) is repaired by pushing it again', async () => {
    const torn = content(randomBytes(100))
    await pushBlob(registry, 'torn', torn)
    await registry.objects.put(blobRecordKey(torn.digest), new Uint8Array())
    expect((await pushBlob(registry, 'torn', torn)).status).toBe(201)
    expect((await send('GET', `/v2/torn/blobs/${torn.digest}`)).status).toBe(200)
  })
})
