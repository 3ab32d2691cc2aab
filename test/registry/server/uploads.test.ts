import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { blobRecordKey } from '../../../src/registry/storage/keys.ts'
import { content, pushBlob, startUpload } from './contents.ts'
import { startRegistry } from './registry-server.ts'

const registry = await startRegistry()
afterAll(() => registry[Symbol.asyncDispose]())
const send = registry.send

describe.each(['sha256', 'sha512', 'blake3'] as const)('pushing a %s blob', algorithm => {
  const blob = (size = 3000) => content(randomBytes(size), 'a/b', algorithm)
  const expectBlob = async (repository: string, { digest, bytes }: ReturnType<typeof blob>) => {
    const path = `/v2/${repository}/blobs/${digest}`
    const head = await send('HEAD', path)
    expect(head.status).toBe(200)
    expect(head.headers).toMatchObject({
      'content-length': String(bytes.length),
      'docker-content-digest': digest,
    })
    const got = await send('GET', path)
    expect(got.status).toBe(200)
    expect(got.headers['docker-content-digest']).toBe(digest)
    expect(got.body.equals(bytes)).toBe(true)
  }

  it('in one POST (end-4b)', async () => {
    const wanted = blob()
    const answer = await pushBlob(registry, 'one', wanted)
    expect(answer.status).toBe(201)
    expect(answer.headers).toMatchObject({
      location: `/v2/one/blobs/${wanted.digest}`,
      'docker-content-digest': wanted.digest,
    })
    await expectBlob('one', wanted)
  })

  it('by POST and PUT (end-4a, end-6)', async () => {
    const wanted = blob()
    const location = await startUpload(registry, 'two')
    const put = await send('PUT', `${location}?digest=${wanted.digest}`, { body: wanted.bytes })
    expect(put.status).toBe(201)
    await expectBlob('two', wanted)
    expect((await send('GET', location)).status).toBe(404)
  })

  it('in chunks, the last with the PUT (end-5)', async () => {
    const wanted = blob()
    const location = await startUpload(registry, 'chunks')
    for (const [first, end] of [
      [0, 1000],
      [1000, 2000],
    ] as const) {
      const patch = await send('PATCH', location, {
        headers: { 'content-range': `${first}-${end - 1}` },
        body: wanted.bytes.subarray(first, end),
      })
      expect(patch.status).toBe(202)
      expect(patch.headers.range).toBe(`0-${end - 1}`)
      expect(patch.headers.location).toBe(location)
    }
    const put = await send('PUT', `${location}?digest=${wanted.digest}`, {
      headers: { 'content-range': '2000-2999' },
      body: wanted.bytes.subarray(2000),
    })
    expect(put.status).toBe(201)
    await expectBlob('chunks', wanted)
  })

  it('streamed, without length or range, then closed by an empty PUT', async () => {
    const wanted = blob(3 * 1024 * 1024)
    const location = await startUpload(registry, 'stream')
    const patch = await send('PATCH', location, { body: wanted.bytes, chunked: true })
    expect(patch.status).toBe(202)
    expect(patch.headers.range).toBe(`0-${wanted.bytes.length - 1}`)
    expect((await send('PUT', `${location}?digest=${wanted.digest}`)).status).toBe(201)
    await expectBlob('stream', wanted)
  })

  it('of no bytes, and of "{}"', async () => {
    for (const bytes of ['', '{}']) {
      const wanted = content(bytes, 'a/b', algorithm)
      expect((await pushBlob(registry, 'small', wanted)).status).toBe(201)
      await expectBlob('small', wanted)
    }
  })

  it('with a hint of its algorithm (end-4c)', async () => {
    const wanted = blob()
    const post = await send('POST', `/v2/hint/blobs/uploads/?digest-algorithm=${algorithm}`)
    expect(post.status).toBe(202)
    const location = post.headers.location ?? ''
    await send('PATCH', location, { body: wanted.bytes })
    expect((await send('PUT', `${location}?digest=${wanted.digest}`)).status).toBe(201)
    await expectBlob('hint', wanted)
  })

  it('refuses other bytes than the digest names, and keeps none of them', async () => {
    const wanted = blob()
    const wrong = Buffer.concat([wanted.bytes, Buffer.from('oh no')])
    const post = await send('POST', `/v2/bad/blobs/uploads/?digest=${wanted.digest}`, {
      body: wrong,
    })
    expect(post.status).toBe(400)
    expect(post.json().errors[0]?.code).toBe('DIGEST_INVALID')
    const location = await startUpload(registry, 'bad')
    await send('PATCH', location, { body: wrong })
    const put = await send('PUT', `${location}?digest=${wanted.digest}`)
    expect(put.status).toBe(400)
    expect((await send('HEAD', `/v2/bad/blobs/${wanted.digest}`)).status).toBe(404)
    expect(await registry.objects.size(blobRecordKey(wanted.digest))).toBeUndefined()
  })
})

describe('an upload', () => {
  it('refuses a chunk out of order with 416 and tells where it stands (end-13)', async () => {
    const location = await startUpload(registry, 'order')
    const early = await send('PATCH', location, {
      headers: { 'content-range': '5-9' },
      body: '56789',
    })
    expect(early.status).toBe(416)
    expect(early.json().errors[0]?.code).toBe('RANGE_INVALID')
    await send('PATCH', location, { headers: { 'content-range': '0-4' }, body: '01234' })
    const again = await send('PATCH', location, {
      headers: { 'content-range': '0-4' },
      body: '01234',
    })
    expect(again.status).toBe(416)
    expect(again.headers).toMatchObject({ range: '0-4', location })
    const status = await send('GET', location)
    expect(status.status).toBe(204)
    expect(status.headers).toMatchObject({ range: '0-4', location })
    const digest = content('0123456789').digest
    const late = await send('PUT', `${location}?digest=${digest}`, {
      headers: { 'content-range': '6-9' },
      body: '6789',
    })
    expect(late.status).toBe(416)
    const done = await send('PUT', `${location}?digest=${digest}`, {
      headers: { 'content-range': '5-9' },
      body: '56789',
    })
    expect(done.status).toBe(201)
  })

  it('has a parseable range before the first byte', async () => {
    const location = await startUpload(registry, 'zero')
    expect((await send('GET', location)).headers.range).toMatch(/^0-[0-9]+$/)
  })

  it.each(['0-', '5-3', 'bytes 0-5/10', '0-9007199254740993', '-1-5'])(
    'refuses Content-Range %j',
    async range => {
      const location = await startUpload(registry, 'range')
      const patch = await send('PATCH', location, {
        headers: { 'content-range': range },
        body: 'abc',
      })
      expect(patch.status).toBe(400)
      expect(patch.json().errors[0]?.code).toBe('BLOB_UPLOAD_INVALID')
    },
  )

  it('refuses a chunk that is shorter or longer than its range, keeping none of it', async () => {
    const location = await startUpload(registry, 'length')
    const short = await send('PATCH', location, {
      headers: { 'content-range': '0-9' },
      body: 'abc',
    })
    expect(short.status).toBe(400)
    expect(short.json().errors[0]?.code).toBe('SIZE_INVALID')
    for (const body of ['abc', 'abcdefghijklmnop']) {
      const chunked = await send('PATCH', location, {
        headers: { 'content-range': '0-9' },
        body,
        chunked: true,
      })
      expect(chunked.status).toBe(400)
    }
    const { digest } = content('0123456789')
    const put = await send('PUT', `${location}?digest=${digest}`, { body: '0123456789' })
    expect(put.status).toBe(201)
  })

  it('is cancelled by DELETE (end-14) and then unknown to every method', async () => {
    const location = await startUpload(registry, 'cancel')
    await send('PATCH', location, { body: 'abc' })
    expect((await send('DELETE', location)).status).toBe(204)
    for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
      const target = method === 'PUT' ? `${location}?digest=${content('abc').digest}` : location
      const answer = await send(method, target, { ...(method === 'PATCH' ? { body: 'x' } : {}) })
      expect(answer.status).toBe(404)
      expect(answer.json().errors[0]?.code).toBe('BLOB_UPLOAD_UNKNOWN')
    }
  })

  it('of another repository is unknown', async () => {
    const location = await startUpload(registry, 'mine')
    const stolen = location.replace('/mine/', '/theirs/')
    expect((await send('GET', stolen)).status).toBe(404)
    expect((await send('PATCH', stolen, { body: 'x' })).status).toBe(404)
    expect((await send('GET', location)).status).toBe(204)
  })

  it('cannot be finished without a digest, with two, or with an unknown algorithm', async () => {
    const location = await startUpload(registry, 'digest')
    const { digest } = content('x')
    for (const query of ['', '?digest=', `?digest=${digest}&digest=${digest}`, '?digest=md5:00']) {
      expect((await send('PUT', `${location}${query}`, { body: 'x' })).status).toBe(400)
    }
    expect((await send('PUT', `${location}?digest=${digest}`, { body: 'x' })).status).toBe(201)
  })

  it('refuses an unknown digest algorithm as a hint', async () => {
    const answer = await send('POST', '/v2/hint/blobs/uploads/?digest-algorithm=md5')
    expect(answer.status).toBe(400)
    expect(answer.json().errors[0]?.code).toBe('DIGEST_INVALID')
  })

  it('has one writer: of two PATCHes at once one is told 416', async () => {
    const location = await startUpload(registry, 'writers')
    const slow = slowPatch(location, 10)
    await slow.started
    const second = await send('PATCH', location, { body: 'second' })
    expect(second.status).toBe(416)
    slow.finish()
    expect(await slow.answer).toMatch(/^HTTP\/1.1 202/)
    expect((await send('GET', location)).headers.range).toBe('0-9')
  })

  it('keeps the bytes of a PATCH that broke off', async () => {
    const location = await startUpload(registry, 'broken')
    const slow = slowPatch(location, 10)
    await slow.started
    slow.breakOff()
    await expect.poll(async () => (await send('GET', location)).headers.range).toBe('0-4')
    const { digest } = content('aaaaabbbbb')
    const put = await send('PUT', `${location}?digest=${digest}`, {
      headers: { 'content-range': '5-9' },
      body: 'bbbbb',
    })
    expect(put.status).toBe(201)
    expect(registry.failures).toEqual([])
  })

  /** Says `length` bytes, sends five `a`, and waits to send the rest or to break off. */
  function slowPatch(location: string, length: number) {
    let seen = ''
    const socket = connect(registry.port, '127.0.0.1')
    socket.on('data', chunk => {
      seen += chunk
    })
    socket.on('error', () => {})
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\naaaaa`)
    return {
      started: sleep(100),
      finish: () => socket.end('b'.repeat(length - 5)),
      breakOff: () => socket.destroy(),
      answer: new Promise<string>(resolve => socket.on('close', () => resolve(seen))),
    }
  }
})
