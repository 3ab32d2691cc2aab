/** An endpoint that notes what it is sent, and answers as it is told. */
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Post {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Receiver extends AsyncDisposable {
  readonly url: string
  readonly posts: readonly Post[]
  /** From now on; `undefined`: no answer. */
  answer(status: number | undefined, headers?: Readonly<Record<string, string>>): void
}

export async function startReceiver(port = 0): Promise<Receiver> {
  const posts: Post[] = []
  let reply: { status: number | undefined; headers?: Readonly<Record<string, string>> } = {
    status: 204,
  }
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    const { status, headers } = reply
    posts.push({ headers: req.headers, body: Buffer.concat(chunks).toString() })
    if (status !== undefined) res.writeHead(status, headers).end()
  })
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`,
    posts,
    answer: (status, headers = {}) => {
      reply = { status, headers }
    },
    [Symbol.asyncDispose]: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** The events of what was posted in distribution's shape, in order. */
// biome-ignore lint/suspicious/noExplicitAny: what was sent is looked at as it is
export function eventsOf(posts: readonly Post[]): any[] {
  return posts.flatMap(({ body }) => JSON.parse(body).events)
}
