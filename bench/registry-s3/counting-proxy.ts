/** Between a registry and its S3 server: counts the requests, by method, and can tell each. */
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface CountingProxy extends AsyncDisposable {
  readonly port: number
  /** Since it was last asked. */
  take(): Readonly<Record<string, number>>
}

/** `tell` hears of each request when it was answered. */
export async function startCountingProxy(
  target: number,
  tell: (line: string) => void = () => {},
): Promise<CountingProxy> {
  let since = performance.now()
  let counts: Record<string, number> = {}
  const agent = new Agent({ keepAlive: true })
  const server = createServer((req, res) => {
    const { method = '', url: path, headers } = req
    const isList = method === 'GET' && /[?&](?:list-type|prefix|delimiter)=/.test(path ?? '')
    const kind = isList ? 'LIST' : method
    counts[kind] = (counts[kind] ?? 0) + 1
    const began = performance.now() - since
    const onward = request(
      { host: '127.0.0.1', port: target, method, path, headers, agent },
      answer => {
        res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
        answer.pipe(res)
        const ended = performance.now() - since
        tell(`${began.toFixed(1)} to ${ended.toFixed(1)} ms: ${kind} ${path} ${answer.statusCode}`)
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
      since = performance.now()
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
