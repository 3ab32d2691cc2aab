import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** Two ends of a connection: the far one is ours to use, the near one is not read by Node. */
export async function connection(): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const far = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [near] = (await accepted) as [Socket]
  for (const socket of [near, far]) socket.on('error', () => {})
  server.close()
  return { near, far }
}
