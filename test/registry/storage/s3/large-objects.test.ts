/** Objects of several parts on a real server: streamed, in turns, with little memory. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasCode } from '../../../../src/oci/errors.ts'
import type { Append, ObjectStore } from '../../../../src/registry/storage/object-store.ts'
import { openS3ObjectStore } from '../../../../src/registry/storage/s3/open-s3.ts'
import { findFullS3Server, startS3Server, type TestS3Server } from '../../../support/s3-server.ts'

const MiB = 1024 * 1024
const product = findFullS3Server()
const title = `large objects on ${product ?? 'S3 [skipped: no S3 server installed]'}`

describe.skipIf(product === undefined)(title, () => {
  let server: TestS3Server
  beforeAll(async () => {
    server = await startS3Server(product ?? 'moto')
  })
  afterAll(() => server?.[Symbol.asyncDispose]())
  const open = (memory = 128 * MiB) =>
    openS3ObjectStore({ ...server.options, memory, prefix: randomUUID() })

  const send = async (append: Append, bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += MiB)
      await append.write([bytes.subarray(at, at + MiB)])
  }
  const hashOf = async (objects: ObjectStore, key: string) => {
    const hash = createHash('sha256')
    for await (const chunk of await objects.open(key)) hash.update(chunk)
    return hash.digest('hex')
  }
  const hashed = (...parts: Buffer[]) => {
    const hash = createHash('sha256')
    for (const part of parts) hash.update(part)
    return hash.digest('hex')
  }
  const leftovers = async (objects: ObjectStore) => {
    const found: string[] = []
    for await (const { key } of objects.unfinished('d/')) found.push(key)
    return found
  }

  it('go on in another process from the parts and the piece that a turn left', async () => {
    await using one = await open()
    await using two = await openS3ObjectStore({ ...server.options, prefix: '' })
    const bytes = randomBytes(31 * MiB)
    const first = await one.objects.append('d/x')
    await send(first, bytes.subarray(0, 13 * MiB))
    const checkpoint = await first.checkpoint()
    expect(checkpoint.size).toBe(13 * MiB)
    expect(await leftovers(one.objects)).toHaveLength(2)
    const second = await one.objects.append('d/x', checkpoint)
    await send(second, bytes.subarray(13 * MiB))
    expect(await second.complete()).toBe(bytes.length)
    expect(await hashOf(one.objects, 'd/x')).toBe(hashed(bytes))
    expect(await leftovers(one.objects)).toEqual([])
    expect(two.findings.mode).toBe('full')
  })

  it('of a known size are one request, when the client is fast', async () => {
    await using store = await open()
    const bytes = randomBytes(20 * MiB)
    const append = await store.objects.append('d/x', undefined, { size: bytes.length })
    await send(append, bytes)
    expect(await leftovers(store.objects)).toEqual([])
    expect(await append.complete()).toBe(bytes.length)
    expect(await hashOf(store.objects, 'd/x')).toBe(hashed(bytes))
  })

  it('of a known size that never come whole keep nothing, and start anew', async () => {
    await using store = await open()
    const bytes = randomBytes(20 * MiB)
    const append = await store.objects.append('d/x', undefined, { size: bytes.length })
    await send(append, bytes.subarray(0, 15 * MiB))
    expect(await append.checkpoint()).toMatchObject({ size: 0 })
    const again = await store.objects.append('d/y', { size: 0, token: '' })
    await send(again, bytes)
    await again.complete()
    expect(await hashOf(store.objects, 'd/y')).toBe(hashed(bytes))
  })

  it('arrive side by side in less memory than their parts take', async () => {
    await using store = await open(4 * MiB)
    const uploads = Array.from({ length: 6 }, (_, i) => ({
      key: `d/${i}`,
      bytes: randomBytes(10 * MiB),
    }))
    const appends = await Promise.all(uploads.map(({ key }) => store.objects.append(key)))
    for (let at = 0; at < 10 * MiB; at += MiB) {
      for (const [i, append] of appends.entries()) {
        await append.write([uploads[i]!.bytes.subarray(at, at + MiB)])
      }
    }
    await Promise.all(appends.map(append => append.complete()))
    for (const { key, bytes } of uploads) {
      expect(await hashOf(store.objects, key)).toBe(hashed(bytes))
    }
    expect(await leftovers(store.objects)).toEqual([])
  })

  it('taken over by another turn are completed once, and never replaced', async () => {
    await using store = await open()
    const start = await store.objects.append('d/x')
    await send(start, randomBytes(9 * MiB))
    const checkpoint = await start.checkpoint()
    const [one, two] = [
      await store.objects.append('d/x', checkpoint),
      await store.objects.append('d/x', checkpoint),
    ]
    await one.write([Buffer.from('one')])
    await two.write([Buffer.from('two')])
    const size = await one.complete()
    await expect(two.complete()).rejects.toSatisfy(
      error => hasCode(error, 'not-found') || hasCode(error, 'conflict'),
    )
    expect(await store.objects.size('d/x')).toBe(size)
    const last: Uint8Array[] = []
    for await (const chunk of await store.objects.open('d/x', { start: size - 3, end: size })) {
      last.push(chunk)
    }
    expect(Buffer.concat(last).toString()).toBe('one')
  })

  it('that are small, taken over, are not replaced either', async () => {
    await using store = await open()
    const [one, two] = [await store.objects.append('d/x'), await store.objects.append('d/x')]
    await one.write([Buffer.from('one')])
    await two.write([Buffer.from('two')])
    await one.complete()
    await expect(two.complete()).rejects.toSatisfy(error => hasCode(error, 'conflict'))
    expect(Buffer.from((await store.objects.get('d/x'))?.bytes ?? []).toString()).toBe('one')
  })

  it('that nobody goes on with are found, and discarded whole', async () => {
    await using store = await open()
    const append = await store.objects.append('d/x')
    await send(append, randomBytes(9 * MiB))
    await append.checkpoint()
    for await (const { key, checkpoint } of store.objects.unfinished('d/')) {
      await store.objects.discard(key, checkpoint)
    }
    expect(await leftovers(store.objects)).toEqual([])
  })

  it('are read by whoever has their address, without credentials', async () => {
    await using store = await open()
    await store.objects.put('d/x', Buffer.from('shared'))
    const url = (await store.objects.urlOf?.('d/x', 60)) ?? ''
    expect(await (await fetch(url)).text()).toBe('shared')
    expect(
      (await fetch(url.replace(/X-Amz-Signature=[0-9a-f]{8}/, 'X-Amz-Signature=00000000'))).status,
    ).toBe(403)
  })
})
