/** A web server on loopback that answers what a test says, and remembers what it was asked. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Answer = (request: IncomingMessage, response: ServerResponse) => void

export interface Routes {
  set(path: string, answer: Answer): void
  get(path: string): Answer | undefined
}

export interface WebServer extends AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string
  readonly host: string
  /** By path, without query. What has none is not found. `get` may be replaced. */
  readonly routes: Routes
  readonly requests: readonly IncomingMessage[]
}

export async function openWebServer(
  routes: Readonly<Record<string, Answer>> = {},
): Promise<WebServer> {
  const answers = new Map(Object.entries(routes))
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    const path = new URL(request.url ?? '/', 'http://host').pathname
    const answer = answers.get(path) ?? ((_, missing) => missing.writeHead(404).end('no such page'))
    answer(request, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: `http://${host}`,
    host,
    routes: answers,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

/** Sends `body`, and 304 to who has it by ETag. */
export function serve(
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return (request, response) => {
    const { etag, 'last-modified': lastModified } = headers
    const { 'if-none-match': knownTag, 'if-modified-since': knownDate } = request.headers
    const isKnown =
      (etag !== undefined && knownTag === etag) ||
      (lastModified !== undefined && knownDate === lastModified)
    if (isKnown) response.writeHead(304).end()
    else response.writeHead(200, headers).end(body)
  }
}

export function redirectTo(location: string): Answer {
  return (_, response) => response.writeHead(302, { location }).end()
}
