/**
 * Sockets: a Node server with the application on it, and what the network may do to us.
 *
 * - No limit to how long a request takes; limits to how slowly a client may send or read.
 * - A reply that comes before the request's body has been read (401, 413) reaches the client: the
 *   rest of the body is read and dropped, up to a limit, before the connection is closed.
 * - Closing lets requests under way finish.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  createServer as createTlsServer,
  type ServerOptions,
  Server as TlsServer,
} from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { SecureContextOptions } from 'node:tls'
import { type ApplicationOptions, createApplication } from './application.ts'
import { restConnections } from './resting-connections.ts'

/** Certificates, and whether clients must have one: as Node takes them. */
export type TlsOptions = SecureContextOptions &
  Pick<ServerOptions, 'requestCert' | 'rejectUnauthorized'>

export interface ListenOptions extends ApplicationOptions {
  /** Empty: every address of the machine. */
  readonly host: string
  /** 0 chooses a free one. */
  readonly port: number
  /** Absent: plain HTTP. */
  readonly tls?: TlsOptions | undefined
  /** How long a client may take; default: {@link patience}. */
  readonly patience?: Patience
}

export interface Patience {
  /** To send the head of a request, from its first byte or the connection's beginning. */
  readonly headMs: number
  /** Between two requests. */
  readonly restMs: number
  /** How often it is looked at. */
  readonly lookMs: number
}

const patience: Patience = {
  headMs: 20_000,
  // Longer than load balancers keep theirs, so it is never we who close under a request.
  restMs: 75_000,
  lookMs: 5_000,
}

export interface Listener {
  readonly host: string
  readonly port: number
  readonly isEncrypted: boolean
  /** For connections from now on; those that are there stay as they are. */
  useCertificates(tls: TlsOptions): void
  /** Stops accepting, waits for requests under way, and after `drainMs` cuts what is left. */
  close(drainMs: number): Promise<void>
}

/** Throws the system's error when the address cannot be had. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const handle = createApplication(options)
  const server = createListening(options)
  const silent = trackSilent(server)
  const refused = new WeakSet<Duplex>()
  const connections = boundSlowReaders(server)
  const resting = restConnections(server)
  const serve = (req: IncomingMessage, res: ServerResponse) => {
    if (silent.size > 0) silent.delete(peerOf(req.socket))
    boundUnreadBody(req, res)
    const refusal = refusalOf(req)
    if (refusal !== undefined) {
      refused.add(req.socket)
      res.writeHead(refusal, { Connection: 'close', 'Content-Length': '0' }).end()
      return
    }
    handle(req, res, resting.adopt)
  }
  server.on('request', serve)
  // `Expect: 100-continue`: the body is asked for when it is first read (request-body.ts).
  server.on('checkContinue', serve)
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (!socket.writable) socket.destroy()
    // Destroyed as well: a client that never closes its side would keep the connection. What was
    // refused by its head has its answer, whatever its body is.
    else socket.end(refused.has(socket) ? '' : badRequest(error.code), () => socket.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    const { host, port } = options
    server.listen(host === '' ? { port } : { host, port }, resolve)
  })
  server.removeAllListeners('error')
  server.on('error', options.onError)
  const { address, port } = server.address() as AddressInfo
  return {
    host: address,
    port,
    isEncrypted: options.tls !== undefined,
    useCertificates: tls => {
      if ('setSecureContext' in server) server.setSecureContext(tls)
    },
    close: drainMs => {
      resting.close()
      return close({ server, silent, connections }, drainMs)
    },
  }
}

/**
 * What Node's parser lets through: of two hosts one proxy may believe the first and the next the last,
 * and of a body in another coding that HTTP 1.0 or nobody knows, each may see another end.
 * Spec: RFC 9112 §3.2, §6.1, RFC 9110 §15.6.6.
 */
function refusalOf({
  rawHeaders,
  headers,
  httpVersion,
  httpVersionMajor,
}: IncomingMessage): 400 | 501 | 505 | undefined {
  if (httpVersionMajor !== 1) return 505
  const coding = headers['transfer-encoding']
  if (coding !== undefined && httpVersion !== '1.1') return 400
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return 501
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  return hosts > 1 ? 400 : undefined
}

type Server = ReturnType<typeof createServer> | TlsServer

function createListening({
  tls,
  patience: { headMs, restMs, lookMs } = patience,
}: ListenOptions): Server {
  const pace = {
    // Ours is by pace, not by time: a large layer takes as long as it takes.
    requestTimeout: 0,
    headersTimeout: headMs,
    keepAliveTimeout: restMs,
    connectionsCheckingInterval: lookMs,
    insecureHTTPParser: false,
  }
  if (tls === undefined) return createServer(pace)
  return createTlsServer({ ...pace, ...tls, handshakeTimeout: 20_000 })
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
function trackSilent(server: Server): Map<string, Socket> {
  const silent = new Map<string, Socket>()
  server.on('connection', (socket: Socket) => {
    const peer = peerOf(socket)
    silent.set(peer, socket)
    socket.once('close', () => {
      if (silent.get(peer) === socket) silent.delete(peer)
    })
  })
  return silent
}

/** The same for the TLS socket of a request and for the connection below it. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

interface Listening {
  readonly server: Server
  readonly silent: ReadonlyMap<string, Socket>
  readonly connections: ReadonlyMap<Socket, unknown>
}

function close({ server, silent, connections }: Listening, drainMs: number): Promise<void> {
  return new Promise(resolve => {
    let isClosed = false
    const timer = setTimeout(() => server.closeAllConnections(), drainMs)
    const look = () => {
      // A connection is of no more use once its request is done.
      server.closeIdleConnections()
      // Node does not wait for those that were adopted.
      if (!isClosed || connections.size > 0) return
      clearTimeout(timer)
      clearInterval(looking)
      resolve()
    }
    const looking = setInterval(look, 20)
    server.close(() => {
      isClosed = true
      look()
    })
    server.closeIdleConnections()
    // What a client has sent already becomes a request first.
    setTimeout(() => {
      for (const socket of silent.values()) socket.destroy()
    }, 100)
  })
}

const unreadLimit = { bytes: 64 * 1024 * 1024, ms: 30_000 }

/** After the reply, Node drops the rest of the body as it comes; here is when that is enough. */
function boundUnreadBody(req: IncomingMessage, res: ServerResponse): void {
  const { 'content-length': length, 'transfer-encoding': encoding } = req.headers
  if (length === undefined && encoding === undefined) return
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

/**
 * A client that takes nothing of what is sent for a minute holds a file and memory for nothing. One
 * look at all connections a minute: a timer for each reply costs more than most replies.
 */
function boundSlowReaders(server: Server): ReadonlyMap<Socket, unknown> {
  /** With what had been sent at the last look; -1 of one that did not wait for its client then. */
  const connections = new Map<Socket, number>()
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    connections.set(socket, -1)
    socket.once('close', () => connections.delete(socket))
  })
  const look = () => {
    for (const [socket, before] of connections) {
      const now = socket.writableNeedDrain ? takenOf(socket) : -1
      if (before >= 0 && now >= 0 && now - before < slowestReader.bytes) socket.destroy()
      connections.set(socket, now)
    }
  }
  const timer = setInterval(look, slowestReader.everyMs)
  timer.unref()
  server.once('close', () => clearInterval(timer))
  return connections
}

/** Bytes that the system has of us; Node counts what it holds itself as written. */
function takenOf(socket: Socket): number {
  const { _handle: handle } = socket as { readonly _handle?: { readonly writeQueueSize?: number } }
  return Math.max(0, socket.bytesWritten - (handle?.writeQueueSize ?? 0))
}
