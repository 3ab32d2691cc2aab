import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { startUpload } from '../contents.ts'
import { startRegistry, type TestRegistry } from '../registry-server.ts'

/** A PATCH that begins to send and does not end. */
async function begin({ port }: TestRegistry, location: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const head = `PATCH ${location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`
  socket.write(`${head}5\r\nhello\r\n`)
  await sleep(100)
  return socket
}

it('one client sends as many bodies at a time as it may; the next is told to come again', async () => {
  await using registry = await startRegistry({ clientUploads: 2 })
  const locations = [1, 2, 3].map(() => startUpload(registry, 'a'))
  const [one = '', two = '', three = ''] = await Promise.all(locations)
  const sockets = [await begin(registry, one), await begin(registry, two)]
  const refused = await registry.send('PATCH', three, { body: 'hello' })
  expect(refused.status).toBe(429)
  expect(refused.headers['retry-after']).toMatch(/^\d+$/)
  expect(refused.json().errors[0]?.code).toBe('TOOMANYREQUESTS')
  expect(registry.failures).toEqual([])
  // What has no body is not counted, and the refused upload is as it was.
  expect((await registry.send('GET', three)).headers.range).toBe('0-0')
  sockets[0]?.destroy()
  await sleep(100)
  const accepted = await registry.send('PATCH', three, { body: 'hello' })
  expect([accepted.status, accepted.headers.range]).toEqual([202, '0-4'])
  sockets[1]?.destroy()
})

it('a client that waits to be asked for its body is refused before it sends any', async () => {
  await using registry = await startRegistry({ clientUploads: 1 })
  const [one, two] = [await startUpload(registry, 'a'), await startUpload(registry, 'a')]
  const socket = await begin(registry, one)
  const head = `PATCH ${two} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue`
  const answer = await registry.raw(`${head}\r\n\r\n`)
  expect(answer).toMatch(/^HTTP\/1.1 429 /)
  expect(answer).not.toContain('100 Continue')
  socket.destroy()
})

it('without a limit any number is taken', async () => {
  await using registry = await startRegistry({ clientUploads: 0 })
  const sockets: Socket[] = []
  for (let i = 0; i < 3; i++) sockets.push(await begin(registry, await startUpload(registry, 'a')))
  const put = await registry.send('PATCH', await startUpload(registry, 'a'), { body: 'x' })
  expect(put.status).toBe(202)
  for (const socket of sockets) socket.destroy()
})
