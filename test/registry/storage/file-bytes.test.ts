/** A file's bytes on their way to a client: sent by the kernel, whatever becomes of either. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { sendChunks } from '../../../src/registry/server/send-chunks.ts'
import {
  type FileRange,
  fileBytes,
  type ReadableFile,
} from '../../../src/registry/storage/filesystem/file-bytes.ts'

const folder = mkdtempSync(join(tmpdir(), 'file-bytes-'))
afterAll(() => rmSync(folder, { recursive: true }))

const path = join(folder, 'blob')
const bytes = randomBytes(8 * 1024 * 1024)
writeFileSync(path, bytes)

interface Serving extends AsyncDisposable {
  readonly port: number
  /** The files of all requests were closed. */
  allClosed(): Promise<void>
  /** Bytes that were moved without being read. */
  moved(): number
  reads(): number
}

/** Answers every request with the range, after `before` was done. */
async function serve(
  range: Required<FileRange>,
  { cannotMove = false, before = async () => {} } = {},
): Promise<Serving> {
  const closings: Promise<void>[] = []
  let moved = 0
  let reads = 0
  const server = createServer(async (_, res) => {
    const file = await open(path)
    const { file: watched, closed } = watch(file, () => reads++, cannotMove)
    closings.push(closed)
    const body = fileBytes(watched, range)
    res.writeHead(200, { 'Content-Length': range.end - range.start })
    await before()
    await sendChunks(res, body, sent => {
      moved += sent
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    allClosed: async () => void (await Promise.all(closings)),
    moved: () => moved,
    reads: () => reads,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function watch(file: FileHandle, onRead: () => void, cannotMove: boolean) {
  let tell = () => {}
  const closed = new Promise<void>(resolve => {
    tell = resolve
  })
  const read: ReadableFile['read'] = (...where) => {
    onRead()
    return file.read(...where)
  }
  const close = () => file.close().then(tell)
  return { file: { fd: cannotMove ? -1 : file.fd, read, close }, closed }
}

async function ask(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  return socket
}

const get = async (port: number) =>
  Buffer.from(await (await fetch(`http://127.0.0.1:${port}/`)).arrayBuffer())

it.each([
  ['all of it', { start: 0, end: bytes.length }],
  ['a part', { start: 1_000_001, end: 5_000_000 }],
  ['the end', { start: 7_000_000, end: bytes.length }],
  ['nothing', { start: 5, end: 5 }],
])('sends %s without reading it, several times on a connection', async (_, range) => {
  await using server = await serve(range)
  for (let i = 0; i < 3; i++) {
    expect((await get(server.port)).equals(bytes.subarray(range.start, range.end))).toBe(true)
  }
  await server.allClosed()
  expect(server.moved()).toBe(3 * (range.end - range.start))
  expect(server.reads()).toBe(0)
})

it('sends many at once to clients that read slowly', async () => {
  await using server = await serve({ start: 0, end: bytes.length })
  const answers = Array.from({ length: 20 }, async (_, i) => {
    const socket = await ask(server.port)
    socket.pause()
    await pause(10 * i)
    const received = await buffer(socket)
    expect(received.subarray(received.indexOf('\r\n\r\n') + 4).equals(bytes)).toBe(true)
  })
  await Promise.all(answers)
  await server.allClosed()
})

it('reads what the kernel cannot send', async () => {
  await using server = await serve({ start: 3, end: bytes.length }, { cannotMove: true })
  expect((await get(server.port)).equals(bytes.subarray(3))).toBe(true)
  expect(server.moved()).toBe(0)
  await server.allClosed()
})

it('closes the file when the client goes away in the middle', async () => {
  await using server = await serve({ start: 0, end: bytes.length })
  const socket = await ask(server.port)
  await once(socket, 'data')
  socket.resetAndDestroy()
  await server.allClosed()
})

it('breaks the connection when the file became shorter', async () => {
  const cut = async () => truncateSync(path, 5_000_000)
  await using server = await serve({ start: 0, end: bytes.length }, { before: cut })
  try {
    const socket = await ask(server.port)
    const answer = await buffer(socket)
    expect(answer.length).toBeLessThan(5_001_000)
    await server.allClosed()
  } finally {
    writeFileSync(path, bytes)
  }
})
