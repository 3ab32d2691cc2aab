/** A proxy, as companies have them. */
import { createServer } from 'node:http'
import { connect as connectTcp } from 'node:net'

export interface TunnelProxy extends AsyncDisposable {
  readonly url: string
  /** What was asked of it, each with the login. */
  readonly asked: readonly string[]
}

/** A proxy of which every tunnel leads to `host`; plain requests are 404. */
export async function tunnelTo(host: string): Promise<TunnelProxy> {
  const asked: string[] = []
  const proxy = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers['proxy-authorization']}`)
    response.writeHead(404).end()
  })
  proxy.on('connect', (request, socket) => {
    asked.push(`CONNECT ${request.url} ${request.headers['proxy-authorization']}`)
    const [, port] = host.split(':')
    const upstream = connectTcp(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      upstream.pipe(socket).pipe(upstream)
    })
    upstream.on('error', () => socket.destroy())
    socket.on('error', () => upstream.destroy())
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  const { port } = proxy.address() as { port: number }
  return {
    url: `http://me:pw@127.0.0.1:${port}`,
    asked,
    async [Symbol.asyncDispose]() {
      proxy.closeAllConnections()
      proxy.close()
    },
  }
}
