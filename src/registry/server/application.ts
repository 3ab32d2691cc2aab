/** The Koa application: `/v2/` to the registry, a few pages for people and probes by @koa/router. */
import Router from '@koa/router'
import Koa from 'koa'
import { printable } from '../../oci/errors.ts'
import type { ObjectBytes } from '../storage/object-store.ts'
import { createClientBudget } from './client-budget.ts'
import { clientOf } from './client-of.ts'
import { dispatch, type Registry } from './dispatch.ts'
import type { Reply, ReplyBody } from './exchange.ts'
import { createHealth, type Health } from './operation/health.ts'
import type { Metrics } from './operation/metrics.ts'
import { createPermits, type PermitOptions } from './permits.ts'
import { commonHeaders } from './reply.ts'
import { openRequestBody, type Pace } from './request-body.ts'
import { splitTarget } from './request-path.ts'
import { sendChunks } from './send-chunks.ts'
import { answerTokenRequest, readForm, tokenPath } from './token-page.ts'

export interface RequestLogEntry {
  readonly method: string
  readonly target: string
  readonly status: number
  readonly ms: number
  /** Bytes of the reply's body, when known. */
  readonly length: number | undefined
  readonly remote: string | undefined
  readonly agent: string | undefined
  /** Who it was, where that is known. */
  readonly user: string | undefined
}

export interface ApplicationOptions extends Registry {
  readonly onRequest: (entry: RequestLogEntry) => void
  /** For `/readyz`: what kind of storage it is. */
  readonly storageMode?: string
  /** Default: one of its own. */
  readonly health?: Health
  readonly metrics?: Pick<Metrics, 'request'> | undefined
  /** Of every reply, unless the reply says otherwise. Asked each time. */
  readonly headers?: () => Readonly<Record<string, readonly string[]>>
  /** Whether the client at this address fetches blobs from the storage itself; default: none. */
  readonly redirects?: (remote: string | undefined) => boolean
  /** Default: 16 KiB a minute. */
  readonly slowestSender?: Pace
  readonly largeBodies?: PermitOptions
  /** Bodies that one address may be sending at a time; 0: any number. Default: 256. */
  readonly clientUploads?: number
}

/** Of 4 MiB each, several times while they are parsed: a bound on the memory of manifests. */
const largeBodies: PermitOptions = { count: 5, waitMs: 10_000 }

const slowestSender: Pace = { bytes: 16 * 1024, everyMs: 60_000 }

/** More than any client of ours and others' sends, few enough beside the memory of an upload. */
export const defaultClientUploads = 256

export function createApplication(options: ApplicationOptions): Koa {
  const app = new Koa()
  const permits = createPermits(options.largeBodies ?? largeBodies)
  const limits = {
    pace: options.slowestSender ?? slowestSender,
    budget: createClientBudget(options.clientUploads ?? defaultClientUploads),
  }
  // Instead of Koa's own report, which prints what clients do wrong to the console. After the head
  // was sent there is only the connection's end to report, and that is in the log of requests.
  app.on('error', (error: Error & { readonly headerSent?: boolean }) => {
    if (error.headerSent !== true) options.onError(error)
  })
  app.use(async (ctx, next) => {
    const started = performance.now()
    // At the end of the reply, however it ends: a download that was cut is in the log too.
    ctx.res.once('close', () => options.onRequest(logEntry(ctx, performance.now() - started)))
    if (options.metrics !== undefined) measure(ctx, options.metrics)
    for (const [name, values] of Object.entries(options.headers?.() ?? {}))
      ctx.set(name, [...values])
    await next()
  })
  app.use(async (ctx, next) => {
    if (isPage(ctx.req.url ?? '')) return next()
    const client = clientOf(ctx.req)
    const body = openRequestBody(ctx, limits)
    const reply = await dispatch(options, {
      method: ctx.req.method ?? 'GET',
      target: ctx.req.url ?? '/',
      header: client.header,
      body: body.bytes,
      client,
      onAdmitted: ({ name }) => {
        ctx.state['user'] = name
      },
      isRedirected: options.redirects?.(ctx.req.socket.remoteAddress) ?? false,
      reserveMemory: () => permits.acquire(),
    })
    // Else its next request would be read as the body that never came.
    if (body.isHeldBack()) ctx.set('Connection', 'close')
    sendReply(ctx, reply)
  })
  app.use(async (ctx, next) => {
    const { path, query } = splitTarget(ctx.req.url ?? '')
    if (path !== tokenPath) return next()
    const client = clientOf(ctx.req)
    const body = openRequestBody(ctx, limits)
    const form = () => readForm(client.header('content-type'), body.bytes)
    const method = ctx.req.method ?? 'GET'
    const reply = await answerTokenRequest(options, { method, query, form, client })
    if (body.isHeldBack()) ctx.set('Connection', 'close')
    sendReply(ctx, reply)
  })
  app.use(pages(options).routes())
  return app
}

/** Everything else is the registry's, its own 404 included. */
function isPage(target: string): boolean {
  return ['/', '/healthz', '/livez', '/readyz', tokenPath].includes(target.split('?', 1)[0] ?? '')
}

function pages(options: ApplicationOptions): Router {
  const { storage, storageMode = 'filesystem', health = createHealth(storage.objects) } = options
  const router = new Router()
  router.get('/', ctx => {
    ctx.set(commonHeaders)
    ctx.body = 'tsregistry: an OCI registry. Its API is under /v2/\n'
  })
  router.get(['/healthz', '/livez'], ctx => {
    ctx.set(commonHeaders)
    ctx.body = 'ok\n'
  })
  router.get('/readyz', async ctx => {
    ctx.set(commonHeaders)
    const reason = await health.whyNotReady()
    ctx.status = reason === undefined ? 200 : 503
    ctx.body = `storage: ${storageMode}${reason === undefined ? '' : `, ${reason}`}\n`
  })
  return router
}

/** On a connection that stays, the bytes of the requests before are not of this one. */
function measure({ req, res, state }: Koa.Context, metrics: Pick<Metrics, 'request'>): void {
  const { socket } = req
  const before = { read: socket.bytesRead, written: socket.bytesWritten }
  const finish = metrics.request(req.method ?? '', req.url ?? '')
  res.once('close', () =>
    finish({
      status: res.statusCode,
      received: Math.max(0, socket.bytesRead - before.read),
      sent: Math.max(0, socket.bytesWritten - before.written) + (state['relayed'] ?? 0),
    }),
  )
}

function sendReply(ctx: Koa.Context, reply: Reply): void {
  ctx.set({ ...commonHeaders, ...reply.headers })
  const { body } = reply
  if (body === undefined || (ctx.req.method === 'HEAD' && !isStream(body))) {
    sendHead(ctx, reply.status, body)
  } else if (isStream(body)) {
    sendStream(ctx, reply, body)
  } else {
    ctx.status = reply.status
    ctx.body = bufferOf(body)
    // Koa guesses a type for the body that it is given; ours is exact.
    ctx.set(reply.headers)
  }
}

function bufferOf(body: string | Uint8Array): Buffer {
  if (typeof body === 'string') return Buffer.from(body)
  return Buffer.from(body.buffer, body.byteOffset, body.length)
}

function isStream(body: ReplyBody): body is ObjectBytes {
  return typeof body === 'object' && !(body instanceof Uint8Array)
}

/** Without a body Koa would put the status' words in its place, or 204 in the status'. */
function sendHead(ctx: Koa.Context, status: number, body: string | Uint8Array | undefined): void {
  ctx.respond = false
  if (body !== undefined) ctx.set('Content-Length', String(Buffer.byteLength(body)))
  else if (status >= 400) ctx.set('Content-Length', '0')
  ctx.res.statusCode = status
  ctx.res.end()
}

function sendStream(ctx: Koa.Context, reply: Reply, body: ObjectBytes): void {
  ctx.respond = false
  ctx.res.statusCode = reply.status
  void sendChunks(ctx.res, body, bytes => {
    ctx.state['relayed'] = bytes
  })
}

function logEntry(ctx: Koa.Context, ms: number): RequestLogEntry {
  const length = Number(ctx.res.getHeader('Content-Length'))
  return {
    method: ctx.req.method ?? '',
    target: printable(ctx.req.url ?? '', 1000),
    status: ctx.res.statusCode,
    ms: Math.round(ms),
    length: Number.isNaN(length) ? undefined : length,
    remote: ctx.req.socket.remoteAddress,
    agent: ctx.req.headers['user-agent'] && printable(ctx.req.headers['user-agent']),
    user: ctx.state['user'],
  }
}
