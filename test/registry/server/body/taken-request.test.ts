/** Large request bodies, which a thread takes from the connection: Node sees their beginning alone. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { syscalls } from '../../../../src/layerfs/native/syscalls.ts'
import { openFileObjectStore } from '../../../../src/registry/storage/filesystem/file-object-store.ts'
import { content, startUpload } from '../contents.ts'
import { startRegistry, type TestRegistry } from '../registry-server.ts'

const size = 3_000_000
const blob = content(randomBytes(size))

const root = mkdtempSync(join(tmpdir(), 'tsregistry-taken-'))
const store = await openFileObjectStore(root)
const registry = await startRegistry({ objects: store.objects })
afterAll(async () => {
  await registry[Symbol.asyncDispose]()
  await store[Symbol.asyncDispose]()
  rmSync(root, { recursive: true, force: true })
})

let taken = vi.spyOn(syscalls(), 'startReceive')
beforeEach(() => {
  taken = vi.spyOn(syscalls(), 'startReceive')
})
afterEach(() => {
  vi.restoreAllMocks()
})

/** A connection that is written to as it is. */
async function open(to: Pick<TestRegistry, 'port'>) {
  const socket = connect(to.port, '127.0.0.1')
  let seen = ''
  let isClosed = false
  socket.on('data', chunk => {
    seen += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    isClosed = true
  })
  return {
    socket,
    write: (bytes: string | Uint8Array) => socket.write(bytes),
    answers: () => seen.match(/HTTP\/1\.1 \d+/g) ?? [],
    seen: () => seen,
    isClosed: () => isClosed,
    [Symbol.dispose]: () => socket.destroy(),
  }
}

const head = (line: string, length: number, more = '') =>
  `${line} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n${more}\r\n`

async function finishing(to: TestRegistry, repository: string, { digest } = blob) {
  return `${await startUpload(to, repository)}?digest=${digest}`
}

async function expectBlob(from: TestRegistry, repository: string, wanted = blob) {
  const got = await from.send('GET', `/v2/${repository}/blobs/${wanted.digest}`)
  expect(got.status).toBe(200)
  expect(got.body.equals(wanted.bytes)).toBe(true)
}

describe('a large request body', () => {
  it('is taken, and the connection goes on after it', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ports = new Set<number | undefined>()
    const ask = (method: string, path: string, body?: Uint8Array) =>
      new Promise<number>((resolve, reject) => {
        const headers = { 'content-length': body?.length ?? 0 }
        const req = httpRequest({ port: registry.port, method, path, headers, agent })
        req.on('error', reject)
        req.on('response', (res: IncomingMessage) => {
          ports.add(res.socket.localPort)
          res.resume().on('end', () => resolve(res.statusCode ?? 0))
        })
        req.end(body)
      })
    for (let i = 0; i < 4; i++) {
      const own = content(randomBytes(size + i))
      const path = await finishing(registry, 'again', own)
      expect(await ask('PUT', path, own.bytes)).toBe(201)
      expect(await ask('HEAD', `/v2/again/blobs/${own.digest}`)).toBe(200)
      await expectBlob(registry, 'again', own)
    }
    agent.destroy()
    expect(taken).toHaveBeenCalledTimes(4)
    expect(ports.size).toBe(1)
  })

  it('may come in any pieces, with the next request behind it', async () => {
    for (let round = 0; round < 5; round++) {
      using client = await open(registry)
      const own = content(randomBytes(size))
      const path = await finishing(registry, 'pieces', own)
      const next = head(`HEAD /v2/pieces/blobs/${own.digest}`, 0)
      const all = Buffer.concat([
        Buffer.from(head(`PUT ${path}`, size)),
        own.bytes,
        Buffer.from(next),
      ])
      for (let at = 0; at < all.length; ) {
        const end = at + 1 + Math.floor((Math.random() * all.length) / 3)
        client.write(all.subarray(at, end))
        at = end
        await sleep(Math.random() * 10)
      }
      await expect.poll(client.answers).toEqual(['HTTP/1.1 201', 'HTTP/1.1 200'])
      await expectBlob(registry, 'pieces', own)
    }
    expect(taken).toHaveBeenCalled()
  })

  it('is asked for first where the client waits for that', async () => {
    using client = await open(registry)
    const path = await finishing(registry, 'asked')
    client.write(head(`PUT ${path}`, size, 'Expect: 100-continue\r\n'))
    await expect.poll(client.answers).toEqual(['HTTP/1.1 100'])
    client.write(blob.bytes)
    await expect.poll(client.answers).toEqual(['HTTP/1.1 100', 'HTTP/1.1 201'])
    expect(taken).toHaveBeenCalledTimes(1)
  })

  it('goes on after a chunk, and a chunk after it', async () => {
    const location = await startUpload(registry, 'chunks')
    const ends = [0, 1_400_000, 1_400_001, size]
    for (const [i, first] of ends.slice(0, -1).entries()) {
      const end = ends[i + 1] ?? size
      const headers = { 'content-range': `${first}-${end - 1}` }
      const body = blob.bytes.subarray(first, end)
      const patch = await registry.send('PATCH', location, { headers, body })
      expect([patch.status, patch.headers.range]).toEqual([202, `0-${end - 1}`])
    }
    expect((await registry.send('PUT', `${location}?digest=${blob.digest}`)).status).toBe(201)
    await expectBlob(registry, 'chunks')
    expect(taken).toHaveBeenCalledTimes(2)
  })

  it('that is not what its digest says is told so on a connection that goes on', async () => {
    using client = await open(registry)
    const path = await finishing(registry, 'wrong')
    client.write(head(`PUT ${path}`, size))
    client.write(Buffer.alloc(size))
    await expect.poll(client.answers).toEqual(['HTTP/1.1 400'])
    expect(client.seen()).toContain('DIGEST_INVALID')
    client.write(head('GET /v2/', 0))
    await expect.poll(client.answers).toEqual(['HTTP/1.1 400', 'HTTP/1.1 200'])
  })

  it('ends with its connection where the client says so', async () => {
    using client = await open(registry)
    const path = await finishing(registry, 'closing')
    client.write(head(`PUT ${path}`, size, 'Connection: close\r\n'))
    client.write(blob.bytes)
    await expect.poll(client.isClosed).toBe(true)
    expect(client.answers()).toEqual(['HTTP/1.1 201'])
    expect(taken).toHaveBeenCalledTimes(1)
  })

  it('may be followed by a rest as long as any other', async () => {
    const patience = { headMs: 200, restMs: 2000, lookMs: 50 }
    await using own = await startRegistry({ objects: store.objects, patience })
    using client = await open(own)
    client.write(head(`PUT ${await finishing(own, 'resting')}`, size))
    client.write(blob.bytes)
    await expect.poll(client.answers).toEqual(['HTTP/1.1 201'])
    await sleep(1000)
    client.write(head('GET /v2/', 0))
    await expect.poll(client.answers).toEqual(['HTTP/1.1 201', 'HTTP/1.1 200'])
    await sleep(1000)
    expect(client.isClosed()).toBe(false)
    await expect.poll(client.isClosed, { timeout: 4000 }).toBe(true)
    expect(client.answers()).toEqual(['HTTP/1.1 201', 'HTTP/1.1 200'])
  })

  it('may be followed by a rest that is too long', async () => {
    const patience = { headMs: 200, restMs: 500, lookMs: 50 }
    await using own = await startRegistry({ objects: store.objects, patience })
    using client = await open(own)
    client.write(head(`PUT ${await finishing(own, 'resting')}`, size))
    client.write(blob.bytes)
    await expect.poll(client.isClosed, { timeout: 4000 }).toBe(true)
    expect(client.answers()).toEqual(['HTTP/1.1 201'])
  })

  it('is kept as far as it came when the client goes away', async () => {
    const location = await startUpload(registry, 'away')
    using client = await open(registry)
    client.write(head(`PATCH ${location}`, size))
    client.write(blob.bytes.subarray(0, 2_000_000))
    await expect.poll(() => taken.mock.calls.length).toBe(1)
    await sleep(100)
    client.socket.destroy()
    const range = async () => (await registry.send('GET', location)).headers.range
    await expect.poll(range).toBe('0-1999999')
    const body = blob.bytes.subarray(2_000_000)
    const headers = { 'content-range': `2000000-${size - 1}` }
    expect((await registry.send('PATCH', location, { headers, body })).status).toBe(202)
    expect((await registry.send('PUT', `${location}?digest=${blob.digest}`)).status).toBe(201)
    await expectBlob(registry, 'away')
    expect(registry.failures).toEqual([])
  })

  it('is cut off when it comes too slowly, and kept', async () => {
    const slowestSender = { bytes: 100_000, everyMs: 200 }
    await using own = await startRegistry({ objects: store.objects, slowestSender })
    const location = await startUpload(own, 'slow')
    using client = await open(own)
    client.write(head(`PATCH ${location}`, size))
    client.write(blob.bytes.subarray(0, 1_500_000))
    const dripping = setInterval(() => client.write('x'), 20)
    await expect.poll(client.isClosed, { timeout: 5000 }).toBe(true)
    clearInterval(dripping)
    const { range } = (await own.send('GET', location)).headers
    expect(Number(range?.split('-')[1])).toBeGreaterThanOrEqual(1_499_999)
    expect(own.failures).toEqual([])
  })

  it('comes by more clients at once than threads are had for', async () => {
    const blobs = Array.from({ length: 40 }, (_, i) => content(randomBytes(1_200_000 + i)))
    const answers = await Promise.all(
      blobs.map(async own => {
        const path = await finishing(registry, 'many', own)
        return (await registry.send('PUT', path, { body: own.bytes })).status
      }),
    )
    expect(new Set(answers)).toEqual(new Set([201]))
    for (const own of blobs) await expectBlob(registry, 'many', own)
  })

  it('that is chunked, or small, is read by Node', async () => {
    const path = await finishing(registry, 'chunked')
    const answer = await registry.send('PUT', path, { body: blob.bytes, chunked: true })
    expect(answer.status).toBe(201)
    const small = content(randomBytes(500_000))
    const other = await finishing(registry, 'chunked', small)
    expect((await registry.send('PUT', other, { body: small.bytes })).status).toBe(201)
    expect(taken).not.toHaveBeenCalled()
  })
})

describe('while a large request body comes, closing the registry', () => {
  /** Half of it has come. */
  async function halfSent(own: TestRegistry) {
    const client = await open(own)
    client.write(head(`PUT ${await finishing(own, 'closed')}`, size))
    client.write(blob.bytes.subarray(0, 1_500_000))
    await expect.poll(() => taken.mock.calls.length).toBe(1)
    return client
  }

  it('waits for it, and for its answer', async () => {
    const own = await startRegistry({ objects: store.objects })
    using client = await halfSent(own)
    const closed = own.close(10_000)
    await sleep(50)
    client.write(blob.bytes.subarray(1_500_000))
    await closed
    await expect.poll(client.isClosed).toBe(true)
    expect(client.answers()).toEqual(['HTTP/1.1 201'])
  })

  it('cuts it when that takes too long', async () => {
    const own = await startRegistry({ objects: store.objects })
    using client = await halfSent(own)
    await own.close(100)
    await expect.poll(client.isClosed).toBe(true)
    expect(client.answers()).toEqual([])
  })

  it('closes connections that went on after one', async () => {
    const own = await startRegistry({ objects: store.objects })
    using client = await halfSent(own)
    client.write(blob.bytes.subarray(1_500_000))
    await expect.poll(client.answers).toEqual(['HTTP/1.1 201'])
    await own.close(10_000)
    await expect.poll(client.isClosed).toBe(true)
  })
})

const mayMount = process.getuid?.() === 0

describe('where the disk is full', () => {
  const name = mayMount ? 'a large request body' : 'a large request body (needs root, for a mount)'
  it.runIf(mayMount)(`${name} is refused, and its connection closed`, async () => {
    const small = mkdtempSync(join(tmpdir(), 'tsregistry-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', small])
    try {
      const full = await openFileObjectStore(small)
      await using own = await startRegistry({ objects: full.objects })
      using client = await open(own)
      client.write(head(`PUT ${await finishing(own, 'full')}`, size))
      client.write(blob.bytes)
      await expect.poll(client.answers).toEqual(['HTTP/1.1 503'])
      expect(client.seen()).toMatch(/\r\nConnection: close\r\n/)
      expect(taken).toHaveBeenCalledTimes(1)
      expect((await own.send('GET', '/v2/')).status).toBe(200)
      await full[Symbol.asyncDispose]()
    } finally {
      execFileSync('umount', ['-l', small])
      rmSync(small, { recursive: true, force: true })
    }
  })
})
