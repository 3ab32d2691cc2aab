/** Between a registry and its S3 server: counts the requests, by method. */
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface CountingProxy extends AsyncDisposable {
  readonly port: number
  /** Since it was last asked. */
  take(): Readonly<Record<string, number>>
}

export async function startCountingProxy(target: number): Promise<CountingProxy> {
  let counts: Record<string, number> = {}
  const agent = new Agent({ keepAlive: true })
  const server = createServer((req, res) => {
    const { method = '', url: path, headers } = req
    const isList = method === 'GET' && /[?&](?:list-type|prefix|delimiter)=/.test(path ?? '')
    const kind = isList ? 'LIST' : method
    counts[kind] = (counts[kind] ?? 0) + 1
    const onward = request(
      { host: '127.0.0.1', port: target, method, path, headers, agent },
      answer => {
        res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
        answer.pipe(res)
      },
    )
    onward.on('error', () => res.destroy())
    req.pipe(onward)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    take: () => {
      const taken = counts
      counts = {}
      return taken
    },
    [Symbol.asyncDispose]: () =>
      new Promise(resolve => {
        agent.destroy()
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
