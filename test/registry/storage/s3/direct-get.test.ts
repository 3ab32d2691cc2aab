/** Large reads over connections read by hand, of servers that answer in every way. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createDirectGets } from '../../../../src/registry/storage/s3/direct-get.ts'

interface Scripted extends AsyncDisposable {
  readonly url: URL
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
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/bucket/key?sign=1`),
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

async function bytesOf(server: Scripted, gets = createDirectGets(server.url)) {
  const body = await gets.get({ url: server.url, start: 10, end: 20, isWhole: false })
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
    expect(server.requests[0]).toMatch(/^GET \/bucket\/key\?sign=1 HTTP\/1\.1\r\nHost: 127/)
    expect(server.requests[0]).toContain('\r\nRange: bytes=10-19\r\n')
  })

  it('asks for no range of what it wants whole, and takes it only whole', async () => {
    await using server = await scripted((socket, request) => {
      socket.write(`${head('200 OK', request === 1 ? 10 : 11)}0123456789`)
    })
    const gets = createDirectGets(server.url)
    const wanted = { url: server.url, start: 0, end: 10, isWhole: true }
    expect(await gets.get(wanted)).toBeDefined()
    expect(await gets.get(wanted)).toBeUndefined()
    expect(server.requests[0]).not.toContain('Range')
  })

  it('uses a connection again, and a new one when the server closed it', async () => {
    await using server = await scripted((socket, request) => {
      socket.write(`${head('206 Partial Content', 10)}0123456789`)
      if (request === 2) socket.end()
    })
    const gets = createDirectGets(server.url)
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
    const { url } = server
    await server[Symbol.asyncDispose]()
    expect(
      await createDirectGets(url).get({ url, start: 0, end: 10, isWhole: true }),
    ).toBeUndefined()
  })

  it('fails when the body breaks off', async () => {
    await using server = await scripted(socket => {
      socket.end(`${head('206 Partial Content', 10)}01234`)
    })
    await expect(bytesOf(server)).rejects.toThrow('The storage closed the connection')
  })
})
