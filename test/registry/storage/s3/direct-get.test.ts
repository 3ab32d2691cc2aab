/** Large reads over connections read by hand, of servers that answer in every way. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  createDirectGets,
  type DirectRequest,
} from '../../../../src/registry/storage/s3/direct-get.ts'

interface Scripted extends AsyncDisposable {
  readonly request: DirectRequest
  /** The connections that were made. */
  connections(): number
  readonly requests: string[]
}

/** Answers each request with what `answer` writes. */
async function scripted(answer: (socket: Socket, request: number) => unknown): Promise<Scripted> {
  const sockets: Socket[] = []
  const requests: string[] = []
  const server = createServer(socket => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('data', text => {
      requests.push(text.toString())
      answer(socket, requests.length)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    request: {
      method: 'GET',
      server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      path: '/bucket/key',
      headers: 'host: here\r\nauthorization: signed\r\n',
    },
    connections: () => sockets.length,
    requests,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

const head = (status: string, length: number, more = '') =>
  `HTTP/1.1 ${status}\r\nContent-Length: ${length}\r\nETag: "e"\r\n${more}\r\n`

async function bytesOf(server: Scripted, gets = createDirectGets()) {
  const body = await gets.get(server.request, { start: 10, end: 20, isWhole: false })
  if (body === undefined) return undefined
  let text = Buffer.from(body.first).toString()
  while (text.length < 10) text += Buffer.from(await body.read()).toString()
  body.release()
  return text
}

describe('a direct GET', () => {
  it('asks for a range, and reads it in whatever pieces it comes', async () => {
    await using server = await scripted(async socket => {
      for (const part of [head('206 Partial Content', 10), '01234', '56789']) {
        for (let at = 0; at < part.length; at += 7) {
          socket.write(part.slice(at, at + 7))
          await sleep(1)
        }
      }
    })
    expect(await bytesOf(server)).toBe('0123456789')
    expect(server.requests[0]).toMatch(
      /^GET \/bucket\/key HTTP\/1\.1\r\nhost: here\r\nauthorization: signed\r\n/,
    )
    expect(server.requests[0]).toContain('\r\nRange: bytes=10-19\r\n')
  })

  it('asks for no range of what it wants whole, and takes it only whole', async () => {
    await using server = await scripted((socket, request) => {
      socket.write(`${head('200 OK', request === 1 ? 10 : 11)}0123456789`)
    })
    const gets = createDirectGets()
    const wanted = { start: 0, end: 10, isWhole: true }
    expect(await gets.get(server.request, wanted)).toBeDefined()
    expect(await gets.get(server.request, wanted)).toBeUndefined()
    expect(server.requests[0]).not.toContain('Range')
  })

  it('uses a connection again, and a new one when the server closed it', async () => {
    await using server = await scripted((socket, request) => {
      socket.write(`${head('206 Partial Content', 10)}0123456789`)
      if (request === 2) socket.end()
    })
    const gets = createDirectGets()
    for (let i = 0; i < 3; i++) {
      expect(await bytesOf(server, gets)).toBe('0123456789')
      await sleep(20)
    }
    expect(server.connections()).toBe(2)
    gets.close()
  })

  it.each([
    ['an error', `${head('404 Not Found', 10)}0123456789`],
    ['another length', `${head('206 Partial Content', 9)}012345678`],
    ['all of it instead of the range', `${head('200 OK', 10)}0123456789`],
    ['two lengths', `${head('206 Partial Content', 10, 'Content-Length: 10\r\n')}0123456789`],
    [
      'a body in chunks',
      `${head('206 Partial Content', 10, 'Transfer-Encoding: chunked\r\n')}a\r\n0123456789`,
    ],
    ['a packed body', `${head('206 Partial Content', 10, 'Content-Encoding: gzip\r\n')}0123456789`],
    ['no entity tag', 'HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n0123456789'],
    ['more than was asked for', `${head('206 Partial Content', 10)}0123456789a`],
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['a head without end', 'x'.repeat(40_000)],
  ])('leaves %s to the ordinary way', async (_, answer) => {
    await using server = await scripted(socket => socket.write(answer))
    expect(await bytesOf(server)).toBeUndefined()
  })

  it('leaves a connection that breaks, or is refused, to the ordinary way', async () => {
    await using server = await scripted(socket => socket.destroy())
    expect(await bytesOf(server)).toBeUndefined()
    const { request } = server
    await server[Symbol.asyncDispose]()
    expect(
      await createDirectGets().get(request, { start: 0, end: 10, isWhole: true }),
    ).toBeUndefined()
  })

  it('fails when the body breaks off', async () => {
    await using server = await scripted(socket => {
      socket.end(`${head('206 Partial Content', 10)}01234`)
    })
    await expect(bytesOf(server)).rejects.toThrow('The storage closed the connection')
  })
})

describe('a direct read of a small object', () => {
  const read = (server: Scripted) => createDirectGets().read(server.request)

  it('gives all of it, in whatever pieces it comes, with its headers', async () => {
    const text = 'x'.repeat(100_000)
    await using server = await scripted(async socket => {
      socket.write(head('200 OK', text.length, 'X-Amz-Meta-Writer: me\r\n'))
      for (let at = 0; at < text.length; at += 30_000) {
        socket.write(text.slice(at, at + 30_000))
        await sleep(1)
      }
    })
    const object = await read(server)
    if (object?.kind !== 'object') throw new Error('There is an object')
    expect(object.bytes.toString()).toBe(text)
    expect(object.etag).toBe('"e"')
    expect(object.header('x-amz-meta-writer')).toBe('me')
    expect(server.requests[0]).not.toContain('Range')
  })

  it('gives an empty one', async () => {
    await using server = await scripted(socket => socket.write(head('200 OK', 0)))
    expect(await read(server)).toMatchObject({ kind: 'object', bytes: Buffer.alloc(0) })
  })

  it('tells that there is none, on a connection that stays', async () => {
    const document = '<Error><Code>NoSuchKey</Code></Error>'
    await using server = await scripted(socket =>
      socket.write(head('404 Not Found', document.length) + document),
    )
    const gets = createDirectGets()
    for (let i = 0; i < 3; i++) expect(await gets.read(server.request)).toEqual({ kind: 'absent' })
    expect(server.connections()).toBe(1)
    gets.close()
  })

  it.each([
    ['no bucket', `${head('404 Not Found', 40)}<Error><Code>NoSuchBucket</Code></Error>`],
    ['a refusal', `${head('403 Forbidden', 0)}`],
    ['an overload', `${head('503 Slow Down', 0)}`],
    ['a part', `${head('206 Partial Content', 4)}0123`],
    ['more than is small', `${head('200 OK', 9 * 1024 * 1024)}0123`],
    ['no length', 'HTTP/1.1 200 OK\r\nETag: "e"\r\n\r\n0123'],
    ['more than was told', `${head('200 OK', 3)}0123`],
    ['no entity tag', 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0123'],
  ])('leaves %s to the ordinary way, asked once', async (_, answer) => {
    await using server = await scripted(socket => socket.write(answer))
    expect(await read(server)).toBeUndefined()
    expect(server.requests).toHaveLength(1)
  })

  it('leaves one that breaks off to the ordinary way', async () => {
    await using server = await scripted(socket => socket.end(`${head('200 OK', 10)}01234`))
    expect(await read(server)).toBeUndefined()
  })
})

describe('a direct HEAD', () => {
  const size = (server: Scripted, gets = createDirectGets()) =>
    gets.size({ ...server.request, method: 'HEAD' })

  it('tells the size, or that there is none, on a connection that stays', async () => {
    const answers = [head('200 OK', 5_000_000_000), head('404 Not Found', 99), head('200 OK', 0)]
    await using server = await scripted((socket, request) => socket.write(answers[request - 1]!))
    const gets = createDirectGets()
    for (const expected of [5_000_000_000, undefined, 0]) {
      expect(await size(server, gets)).toEqual({ size: expected })
    }
    expect(server.requests.every(text => text.startsWith('HEAD /bucket/key '))).toBe(true)
    expect(server.connections()).toBe(1)
    gets.close()
  })

  it.each([
    ['a refusal', head('403 Forbidden', 0)],
    ['an overload', head('503 Slow Down', 0)],
    ['no length', 'HTTP/1.1 200 OK\r\nETag: "e"\r\n\r\n'],
    ['a body', `${head('200 OK', 4)}0123`],
  ])('leaves %s to the ordinary way, asked once', async (_, answer) => {
    await using server = await scripted(socket => socket.write(answer))
    expect(await size(server)).toBeUndefined()
    expect(server.requests).toHaveLength(1)
  })

  it('does not take a body that comes later for the next answer', async () => {
    await using server = await scripted(async (socket, request) => {
      socket.write(head('404 Not Found', 4))
      await sleep(20)
      if (request === 1) socket.write('0123')
    })
    const gets = createDirectGets()
    expect(await size(server, gets)).toEqual({ size: undefined })
    await sleep(50)
    const later = await size(server, gets)
    expect([undefined, { size: undefined }]).toContainEqual(later)
    gets.close()
  })
})
