import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, expect, it } from 'vitest'
import { sendChunks } from '../../../src/registry/server/send-chunks.ts'

const open: Disposable[] = []
afterEach(() => {
  for (const what of open.splice(0)) what[Symbol.dispose]()
})

async function serve(answer: (res: ServerResponse) => void): Promise<Socket> {
  const server = createServer((_, res) => answer(res)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {})
  open.push({
    [Symbol.dispose]: () => {
      socket.destroy()
      server.close()
    },
  })
  return socket
}

const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

/** Chunks of two buffers in turns, as a file lends them; tells when nobody reads it any more. */
function lending(count: number): { chunks: AsyncIterable<Uint8Array>; ended: Promise<void> } {
  let tell = () => {}
  const ended = new Promise<void>(resolve => {
    tell = resolve
  })
  async function* chunks() {
    const buffers = [Buffer.alloc(100_000), Buffer.alloc(100_000)] as const
    try {
      for (let i = 0; i < count; i++) yield buffers[i % 2 === 0 ? 0 : 1].fill(97 + (i % 26))
    } finally {
      tell()
    }
  }
  return { chunks: chunks(), ended }
}

it('sends lent chunks as they were when they were lent, to a slow reader too', async () => {
  const { chunks } = lending(60)
  const socket = await serve(res => {
    res.setHeader('Connection', 'close')
    void sendChunks(res, chunks)
  })
  socket.write(get)
  socket.pause()
  setTimeout(() => socket.resume(), 100)
  const answer = await text(socket)
  const letters = answer.slice(answer.indexOf('\r\n\r\n')).match(/([a-z])\1{99}/g) ?? []
  expect(letters.length).toBeGreaterThan(59_000)
  for (let i = 0; i < 26; i++) expect(answer).toContain(String.fromCharCode(97 + i).repeat(1000))
})

it('closes what it reads when the client goes away in the middle', async () => {
  const { chunks, ended } = lending(1_000_000)
  const socket = await serve(res => void sendChunks(res, chunks))
  socket.write(get)
  await once(socket, 'data')
  socket.destroy()
  await ended
})

it('closes what it reads when its reply waits behind another and the client goes away', async () => {
  const { chunks, ended } = lending(1_000_000)
  let requests = 0
  const socket = await serve(res => {
    // The first is never answered, so nothing of the second is ever written.
    if (++requests === 2) void sendChunks(res, chunks)
    if (requests === 2) setTimeout(() => socket.destroy(), 50)
  })
  socket.write(get + get)
  await ended
})

it('breaks the connection when the chunks fail', async () => {
  async function* failing() {
    yield Buffer.from('begin')
    throw new Error('A sector cannot be read')
  }
  const socket = await serve(res => void sendChunks(res, failing()))
  socket.write(get)
  const answer = await text(socket).catch(() => 'broken')
  expect(answer).not.toMatch(/\r\n0\r\n/)
})
