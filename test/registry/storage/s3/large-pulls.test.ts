/** Pulls of large blobs out of a bucket: by the kernel, whatever breaks on either side. */
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../../src/oci/digest.ts'
import type { ObjectStore } from '../../../../src/registry/storage/object-store.ts'
import {
  type OpenS3ObjectStore,
  openS3ObjectStore,
} from '../../../../src/registry/storage/s3/open-s3.ts'
import { findFullS3Server, startS3Server, type TestS3Server } from '../../../support/s3-server.ts'
import { content, pushBlob } from '../../server/contents.ts'
import { startRegistry, type TestRegistry } from '../../server/registry-server.ts'

const product = findFullS3Server()
const title = `large pulls from ${product ?? 'S3 [skipped: no S3 server installed]'}`
const MiB = 1024 * 1024
const blob = content(randomBytes(8 * MiB))
const path = `/v2/a/blobs/${blob.digest}`

describe.skipIf(product === undefined)(title, () => {
  let server: TestS3Server
  let network: CutNetwork
  let store: OpenS3ObjectStore
  let registry: TestRegistry
  let passed = 0
  beforeAll(async () => {
    server = await startS3Server(product ?? 'moto')
    network = await cutNetwork(server.port)
    const endpoint = new URL(`http://127.0.0.1:${network.port}`)
    store = await openS3ObjectStore({ ...server.options, endpoint, prefix: randomUUID() })
    registry = await startRegistry({
      objects: counting(store.objects, bytes => {
        passed += bytes
      }),
    })
    expect((await pushBlob(registry, 'a', blob)).status).toBe(201)
  })
  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]()
    await store?.[Symbol.asyncDispose]()
    await network?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
  })

  it('come whole, on one connection after the other, between other answers', async () => {
    const client = await open(registry.port)
    passed = 0
    for (let i = 0; i < 3; i++) {
      client.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
      client.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
      expect(digestOf(await answer(client))).toBe(blob.digest)
      expect(await answer(client)).toHaveLength(2)
    }
    client.destroy()
    expect(passed).toBeGreaterThan(2.5 * blob.bytes.length)
  })

  it('come as ranges', async () => {
    const client = await open(registry.port)
    for (const [start, end] of [
      [1, 2 * MiB],
      [3 * MiB, 8 * MiB],
    ] as const) {
      client.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nRange: bytes=${start}-${end - 1}\r\n\r\n`)
      expect((await answer(client)).equals(blob.bytes.subarray(start, end))).toBe(true)
    }
    client.destroy()
  })

  it('go on where the connection to the bucket broke', async () => {
    const client = await open(registry.port)
    for (const after of [1, 100_000, 5 * MiB]) {
      network.cutAfter(after)
      client.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
      expect(digestOf(await answer(client))).toBe(blob.digest)
    }
    client.destroy()
  })

  it('of clients that go away hold no connection to the bucket', async () => {
    for (let i = 0; i < 5; i++) {
      const client = await open(registry.port)
      client.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
      await once(client, 'data')
      client.pause()
      await sleep(20)
      client.resetAndDestroy()
    }
    await expect.poll(() => network.underWay(), { timeout: 5000 }).toBe(0)
  })

  it('of many at once come whole', async () => {
    const pulls = Array.from({ length: 6 }, async () => {
      const client = await open(registry.port)
      client.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
      const digest = digestOf(await answer(client))
      client.destroy()
      return digest
    })
    expect(new Set(await Promise.all(pulls))).toEqual(new Set([blob.digest]))
  })
})

/** Tells of bytes that a drain took without this process having read them. */
function counting(objects: ObjectStore, onSent: (bytes: number) => void): ObjectStore {
  const counted = Object.create(objects) as ObjectStore
  counted.open = async (key, range) => {
    const bytes = await objects.open(key, range)
    const { sendTo } = bytes
    if (sendTo === undefined) return bytes
    return Object.assign(bytes, {
      sendTo: (drain: Parameters<typeof sendTo>[0]) =>
        sendTo({
          ...drain,
          sent: count => {
            onSent(count)
            drain.sent(count)
          },
        }),
    })
  }
  return bound(counted, objects)
}

/** Private members are the object's own, so its methods are called on it. */
function bound(over: ObjectStore, objects: ObjectStore): ObjectStore {
  return new Proxy(over, {
    get: (target, name) => {
      if (Object.hasOwn(target, name)) return Reflect.get(target, name)
      const value: unknown = Reflect.get(objects, name)
      return typeof value === 'function' ? value.bind(objects) : value
    },
  })
}

async function open(port: number): Promise<Socket> {
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  client.on('error', () => {})
  return client
}

/** The next answer's body, by its length; what comes behind it stays. */
async function answer(client: Socket): Promise<Buffer> {
  let text = Buffer.alloc(0)
  let end = -1
  const chunks: Buffer[] = []
  let size = 0
  let wanted = Number.POSITIVE_INFINITY
  while (size < wanted) {
    const chunk = (client.read() as Buffer | null) ?? undefined
    if (chunk === undefined) {
      await once(client, 'readable')
      continue
    }
    if (end === -1) {
      text = Buffer.concat([text, chunk])
      end = text.indexOf('\r\n\r\n')
      if (end === -1) continue
      wanted = Number(/content-length: (\d+)/i.exec(text.toString('latin1', 0, end))?.[1])
      chunks.push(text.subarray(end + 4))
      size = text.length - end - 4
    } else {
      chunks.push(chunk)
      size += chunk.length
    }
  }
  const all = Buffer.concat(chunks)
  if (all.length > wanted) client.unshift(all.subarray(wanted))
  return all.subarray(0, wanted)
}

interface CutNetwork extends AsyncDisposable {
  readonly port: number
  /** The next connection that gives so many bytes breaks there. */
  cutAfter(bytes: number): void
  /** Connections over which an answer is coming. */
  underWay(): number
}

async function cutNetwork(target: number): Promise<CutNetwork> {
  const sockets = new Set<Socket>()
  let left = Number.POSITIVE_INFINITY
  const waiting = new Set<Socket>()
  const server: Server = createServer(near => {
    const far = connect(target, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        waiting.delete(one)
        other.destroy()
      })
      one.on('drain', () => {
        waiting.delete(one)
        other.resume()
      })
    }
    near.on('data', chunk => far.write(chunk))
    far.on('data', chunk => {
      if (chunk.length < left) {
        left -= chunk.length
        if (near.write(chunk)) return
        waiting.add(near)
        far.pause()
        return
      }
      near.write(chunk.subarray(0, left), () => near.resetAndDestroy())
      left = Number.POSITIVE_INFINITY
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    cutAfter: bytes => {
      left = bytes
    },
    underWay: () => waiting.size,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
