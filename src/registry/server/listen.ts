/**
 * Sockets: a Node server with a Koa application on it, and what the network may do to us.
 *
 * - No limit to how long a request takes; limits to how slowly a client may send or read.
 * - A reply that comes before the request's body has been read (401, 413) reaches the client: the
 *   rest of the body is read and dropped, up to a limit, before the connection is closed.
 * - Closing lets requests under way finish.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type ApplicationOptions, createApplication } from './application.ts'

export interface ListenOptions extends ApplicationOptions {
  /** Empty: every address of the machine. */
  readonly host: string
  /** 0 chooses a free one. */
  readonly port: number
}

export interface Listener {
  readonly host: string
  readonly port: number
  /** Stops accepting, waits for requests under way, and after `drainMs` cuts what is left. */
  close(drainMs: number): Promise<void>
}

/** Throws the system's error when the address cannot be had. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const handle = createApplication(options).callback()
  const server = createServer({
    // Ours is by pace, not by time: a large layer takes as long as it takes.
    requestTimeout: 0,
    headersTimeout: 20_000,
    // Longer than load balancers keep theirs, so it is never we who close under a request.
    keepAliveTimeout: 75_000,
    connectionsCheckingInterval: 5_000,
    insecureHTTPParser: false,
  })
  const silent = trackSilent(server)
  const serve = (req: IncomingMessage, res: ServerResponse) => {
    silent.delete(req.socket)
    boundUnreadBody(req, res)
    boundSlowReader(res)
    res.once('close', () => {
      // While closing, a connection is of no more use once its request is done.
      if (!server.listening) setImmediate(() => server.closeIdleConnections())
    })
    void handle(req, res)
  }
  server.on('request', serve)
  // `Expect: 100-continue`: the body is asked for when it is first read (request-body.ts).
  server.on('checkContinue', serve)
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable) socket.destroy()
    // Destroyed as well: a client that never closes its side would keep the connection.
    else socket.end(badRequest(error.code), () => socket.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    const { host, port } = options
    server.listen(host === '' ? { port } : { host, port }, resolve)
  })
  server.removeAllListeners('error')
  server.on('error', options.onError)
  const { address, port } = server.address() as AddressInfo
  return { host: address, port, close: drainMs => close(server, silent, drainMs) }
}

const badRequestLines: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

function badRequest(code: string | undefined): string {
  const line = badRequestLines[code ?? ''] ?? '400 Bad Request'
  return `HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
}

/**
 * Connections that have not made a request: opened in advance, or to see whether we are there. Node
 * counts them neither as idle nor as done, and would wait for them when it closes.
 */
function trackSilent(server: Server): Set<Socket> {
  const silent = new Set<Socket>()
  server.on('connection', socket => {
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
  })
  return silent
}

function close(server: Server, silent: ReadonlySet<Socket>, drainMs: number): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(() => server.closeAllConnections(), drainMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
    for (const socket of silent) socket.destroy()
  })
}

const unreadLimit = { bytes: 64 * 1024 * 1024, ms: 30_000 }

/** After the reply, Node drops the rest of the body as it comes; here is when that is enough. */
function boundUnreadBody(req: IncomingMessage, res: ServerResponse): void {
  res.once('finish', () => {
    if (req.complete) return
    const { socket } = req
    const readBefore = socket.bytesRead
    const deadline = Date.now() + unreadLimit.ms
    const timer = setInterval(() => {
      const isOver = socket.bytesRead - readBefore > unreadLimit.bytes || Date.now() > deadline
      if (isOver) socket.destroy()
      if (isOver || req.complete || socket.destroyed) clearInterval(timer)
    }, 250)
    timer.unref()
    req.resume()
  })
}

const slowestReader = { bytes: 16 * 1024, everyMs: 60_000 }

/** A client that takes nothing of a reply for a minute holds a file and memory for nothing. */
function boundSlowReader(res: ServerResponse): void {
  let written = res.socket?.bytesWritten ?? 0
  const timer = setInterval(() => {
    const { socket } = res
    if (socket === null) return clearInterval(timer)
    const isStalled = res.writableNeedDrain && socket.bytesWritten - written < slowestReader.bytes
    if (isStalled) socket.destroy()
    written = socket.bytesWritten
  }, slowestReader.everyMs)
  timer.unref()
  res.once('close', () => clearInterval(timer))
}
