/** A server that takes conditions for nothing: moto, which checks no signature, without their headers. */
import { randomUUID } from 'node:crypto'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openS3ObjectStore } from '../../../../src/registry/storage/s3/open-s3.ts'
import { PartMemory } from '../../../../src/registry/storage/s3/part-memory.ts'
import { createS3Client } from '../../../../src/registry/storage/s3/s3-client.ts'
import { S3ObjectStore } from '../../../../src/registry/storage/s3/s3-object-store.ts'
import {
  SingleWriterStore,
  takeWriterLease,
} from '../../../../src/registry/storage/s3/single-writer.ts'
import { findS3Server, startS3Server, type TestS3Server } from '../../../support/s3-server.ts'

const isThere = findS3Server('moto') !== undefined
const title = `a server without conditions${isThere ? '' : ' [skipped: needs moto]'}`

describe.skipIf(!isThere)(title, () => {
  let server: TestS3Server
  const proxy = createServer((req, res) => {
    const { 'if-match': _, 'if-none-match': __, ...headers } = req.headers
    const { method, url: path } = req
    const target = { host: '127.0.0.1', port: server.port, method, path, headers }
    const onward = request(target, answer => {
      res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(res)
    })
    req.pipe(onward)
  })
  beforeAll(async () => {
    server = await startS3Server('moto')
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  })
  afterAll(async () => {
    proxy.close()
    proxy.closeAllConnections()
    await server?.[Symbol.asyncDispose]()
  })
  const open = (prefix: string) => {
    const { port } = proxy.address() as AddressInfo
    return openS3ObjectStore({
      ...server.options,
      endpoint: new URL(`http://127.0.0.1:${port}`),
      prefix,
    })
  }

  it('is found out, with what it lacks', async () => {
    await using store = await open(randomUUID())
    expect(store.findings).toMatchObject({ mode: 'single-writer', listing: 'ordered' })
    expect(store.findings.lacks).toEqual([
      'PUT If-None-Match',
      'PUT If-Match',
      'DELETE If-Match',
      'CompleteMultipartUpload If-None-Match',
    ])
  })

  it('has one process that writes: a second is refused, until the first is gone', async () => {
    const prefix = randomUUID()
    const first = await open(prefix)
    await expect(open(prefix)).rejects.toMatchObject({
      code: 'conflict',
      hint: expect.stringContaining('one process may write at a time'),
    })
    await first[Symbol.asyncDispose]()
    await using second = await open(prefix)
    expect(second.findings.mode).toBe('single-writer')
  })

  it('lets nobody write who lost the bucket to another process', async () => {
    const client = await createS3Client({ ...server.options, prefix: randomUUID() })
    const memory = new PartMemory(0)
    const bucket = new S3ObjectStore({ client, listing: 'ordered', memory, hasConditions: false })
    await using lease = await takeWriterLease(client, bucket, {
      settleMs: 1,
      renewMs: 20,
      expiryMs: 60_000,
    })
    const store = new SingleWriterStore(bucket, lease)
    const append = await store.append('d/x')
    await store.put('a', Buffer.from('mine'))
    expect(lease.isHeld()).toBe(true)
    // Again and again: a renewal that is under way writes over it.
    const intrude = async () => {
      await bucket.put('g/writer', Buffer.from('{"holder":"another"}'))
      return lease.isHeld()
    }
    await expect.poll(intrude, { timeout: 10_000 }).toBe(false)
    const writes = [store.put('a', Buffer.from('b')), store.delete('a'), store.append('d/y')]
    for (const write of [...writes, append.complete()]) {
      await expect(write).rejects.toMatchObject({ code: 'unavailable' })
    }
    expect(Buffer.from((await store.get('a'))?.bytes ?? []).toString()).toBe('mine')
    client.close()
  })

  it('is written with conditions that the process decides', async () => {
    await using store = await open(randomUUID())
    const writes = Array.from({ length: 10 }, (_, i) =>
      store.objects.put('a', Buffer.from(`${i}`), { condition: { kind: 'absent' } }),
    )
    const results = await Promise.allSettled(writes)
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })
})
