/** A load balancer with no memory: each request goes to the next server that takes connections. */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface RoundRobin extends AsyncDisposable {
  readonly port: number
  /** Requests each server was sent, in the order of `ports()`. */
  readonly sent: number[]
}

/** `ports` is asked for every request, so servers may come and go. */
export async function startRoundRobin(ports: () => readonly number[]): Promise<RoundRobin> {
  let turn = 0
  const sent: number[] = []
  const pass = (req: IncomingMessage, res: ServerResponse) => {
    const index = turn++ % ports().length
    sent[index] = (sent[index] ?? 0) + 1
    const { method, url: path, headers } = req
    const target = { host: '127.0.0.1', port: ports()[index], method, path, headers }
    const onward = request(target, answer => {
      res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(res)
      answer.on('error', () => res.destroy())
    })
    onward.on('error', () => {
      if (res.headersSent) res.destroy()
      else res.writeHead(502).end()
      req.resume()
    })
    req.pipe(onward)
  }
  const server = createServer(pass)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    sent,
    [Symbol.asyncDispose]: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
