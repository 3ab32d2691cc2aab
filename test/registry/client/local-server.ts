/** A hand-written server on a loopback port, for what no proper registry does. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
}

export interface LocalServer extends AsyncDisposable {
  /** `127.0.0.1:port`: the registry's name in references. */
  readonly host: string
  readonly url: string
  readonly seen: SeenRequest[]
  /** `METHOD path`, in order. */
  lines(): string[]
}

export type Handler = (
  request: IncomingMessage,
  response: ServerResponse,
  count: number,
) => void | Promise<void>

export interface TlsFiles {
  readonly key: string
  readonly cert: string
}

/** `count` tells the handler how many requests came before. */
export async function serve(handler: Handler, tls?: TlsFiles): Promise<LocalServer> {
  const seen: SeenRequest[] = []
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const { method = '', url = '', headers } = request
    seen.push({ method, path: url, headers })
    request.on('error', () => {})
    void handler(request, response, seen.length - 1)
  }
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    host,
    url: `${tls === undefined ? 'http' : 'https'}://${host}`,
    seen,
    lines: () => seen.map(({ method, path }) => `${method} ${path}`),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

export function bodyOf(request: IncomingMessage): Promise<Buffer> {
  return buffer(request)
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
