/** Loads that ask for memory. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { manifestType, send } from './client.ts'

const count = 256

/** Uploads that send 64 KiB each tenth of a second for four seconds, and stay open. */
export async function openSlowUploads(port: number): Promise<Disposable> {
  const sockets: Socket[] = []
  const chunk = Buffer.alloc(64 * 1024, 'x')
  const head = `${chunk.length.toString(16)}\r\n`
  for (let i = 0; i < count; i++) {
    const post = await send(port, '/v2/slow/blobs/uploads/', { method: 'POST' })
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    const path = String(post.headers.location)
    socket.write(`PATCH ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`)
    sockets.push(socket)
  }
  for (let i = 0; i < 40; i++) {
    for (const socket of sockets) {
      socket.write(head)
      socket.write(chunk)
      socket.write('\r\n')
    }
    await sleep(100)
  }
  return { [Symbol.dispose]: () => sockets.forEach(socket => void socket.destroy()) }
}

/** Whether they are taken or told to come later is theirs to say; memory is what is measured. */
export async function sendLargeManifests(port: number): Promise<Disposable> {
  const annotation = 'x'.repeat(4 * 1024 * 1024 - 300)
  const document = { schemaVersion: 2, mediaType: manifestType, annotations: { annotation } }
  const body = Buffer.from(JSON.stringify(document))
  const put = async (i: number) => {
    const path = `/v2/memory/manifests/t${i}`
    await send(port, path, { method: 'PUT', type: manifestType, body }).catch(() => {})
  }
  await Promise.all(Array.from({ length: count }, (_, i) => put(i)))
  return { [Symbol.dispose]: () => {} }
}
