/**
 * What answers requests: the registry itself, and a few pages for people and probes, which Koa and
 * @koa/router have. The registry's own replies do not go through Koa: its context and its way to
 * send cost a third of a manifest (measured).
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import Router from '@koa/router'
import Koa from 'koa'
import { printable } from '../../oci/errors.ts'
import type { Client } from './access/access.ts'
import { createClientBudget } from './body/client-budget.ts'
import type { HttpExchange, Pace } from './body/http-exchange.ts'
import { createPermits, type PermitOptions } from './body/permits.ts'
import { openRequestBody } from './body/request-body.ts'
import { createTaking } from './body/taken-request.ts'
import { clientOf, type IsProxy } from './client-of.ts'
import { dispatch, type Registry } from './dispatch.ts'
import type { Reply } from './exchange.ts'
import { createHealth, type Health } from './operation/health.ts'
import type { Metrics } from './operation/metrics.ts'
import { commonHeaders } from './reply.ts'
import { splitTarget } from './request-path.ts'
import { sendReply } from './send-reply.ts'
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
  /** Told at each reply's end; default: nobody is. */
  readonly onRequest?: ((entry: RequestLogEntry) => void) | undefined
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
  /** Whose word of clients is believed; default: nobody's. */
  readonly isProxy?: IsProxy
  readonly slowestSender?: Pace
  readonly largeBodies?: PermitOptions
  /** Bodies that one address may be sending at a time; 0: any number. Default: 256. */
  readonly clientUploads?: number
}

/** Of 4 MiB each: a bound on the memory of manifests. */
const largeBodies: PermitOptions = { count: 4, waitMs: 10_000 }

/** Of them, at a time: a second one takes 15 MiB more, and either waits for the processor. */
const parsedBodies = 1

const slowestSender: Pace = { bytes: 16 * 1024, everyMs: 60_000 }

/** More than any client of ours and others' sends, few enough beside the memory of an upload. */
export const defaultClientUploads = 256

/** Answers one request; never throws. */
export type Application = (
  req: IncomingMessage,
  res: ServerResponse,
  adopt: HttpExchange['adopt'],
) => void

/** One request, and what becomes known of it for the log and the metrics. */
interface Served {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** For a connection that goes on under another socket. */
  readonly adopt: HttpExchange['adopt']
  readonly client: Client
  /** Who it is, once that is known. */
  user: string | undefined
  /** Bytes of the reply, and of the request, that Node's socket did not count. */
  relayed: number
  taken: number
  /** Bytes of the reply's body, once that is known. */
  length: number | undefined
}

export function createApplication(options: ApplicationOptions): Application {
  const answer = createAnswers(options)
  const showPage = createPages(options).callback()
  const { isProxy = () => false } = options
  return (req, res, adopt) => {
    const client = clientOf(req, isProxy)
    const counts = { relayed: 0, taken: 0, length: undefined }
    const served: Served = { req, res, adopt, client, user: undefined, ...counts }
    watch(served, options)
    setHeaders(res, options.headers?.())
    if (isPage(req.url ?? '')) void showPage(req, res)
    else answer(served).catch(error => giveUp(served, error, options))
  }
}

function setHeaders(
  res: ServerResponse,
  headers: Readonly<Record<string, readonly string[]>> | undefined,
): void {
  for (const name in headers) res.setHeader(name, [...(headers[name] ?? [])])
}

/** A mistake of ours ends this request alone; the client learns that there is no reply. */
function giveUp({ res }: Served, error: unknown, { onError }: ApplicationOptions): void {
  onError(error)
  res.destroy()
}

function createAnswers(options: ApplicationOptions): (served: Served) => Promise<void> {
  const received = options.largeBodies ?? largeBodies
  const permits = {
    received: createPermits(received),
    parsed: createPermits({ ...received, count: parsedBodies }),
  }
  const limits = {
    pace: options.slowestSender ?? slowestSender,
    budget: createClientBudget(options.clientUploads ?? defaultClientUploads),
    take: createTaking(),
  }
  return async served => {
    const { req, res, client, adopt } = served
    const { method = 'GET', url: target = '/' } = req
    const onTaken = (bytes: number) => {
      served.taken += bytes
    }
    const body = openRequestBody({ req, res, remote: client.remote, adopt, onTaken }, limits)
    const reply = isToken(target)
      ? await answerTokenRequest(options, {
          method,
          query: splitTarget(target).query,
          form: () => readForm(client.header('content-type'), body.bytes),
          client,
        })
      : await dispatch(options, {
          method,
          target,
          header: client.header,
          body: body.bytes,
          client,
          onAdmitted: ({ name }) => {
            served.user = name
          },
          isRedirected: options.redirects?.(client.remote) ?? false,
          reserveMemory: until => permits[until].acquire(),
        })
    // Else its next request would be read as the body that never came.
    if (body.mustHangUp()) res.setHeader('Connection', 'close')
    send(served, reply)
  }
}

function send(served: Served, reply: Reply): void {
  served.length = sendReply(served.res, reply, bytes => {
    served.relayed = bytes
  })
}

/** Everything else is the registry's, its own 404 included. */
function isPage(target: string): boolean {
  if (target.startsWith('/v2/')) return false
  return ['/', '/healthz', '/livez', '/readyz'].includes(target.split('?', 1)[0] ?? '')
}

function isToken(target: string): boolean {
  return target.startsWith(tokenPath) && splitTarget(target).path === tokenPath
}

function createPages(options: ApplicationOptions): Koa {
  const { storage, storageMode = 'filesystem', health = createHealth(storage.objects) } = options
  const app = new Koa()
  // Instead of Koa's own report, which prints what clients do wrong to the console. After the head
  // was sent there is only the connection's end to report, and that is in the log of requests.
  app.on('error', (error: Error & { readonly headerSent?: boolean }) => {
    if (error.headerSent !== true) options.onError(error)
  })
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
  app.use(router.routes())
  return app
}

/** At the end of the reply, however it ends: a download that was cut is in the log too. */
function watch(served: Served, { onRequest, metrics }: ApplicationOptions): void {
  if (onRequest === undefined && metrics === undefined) return
  const { req, res } = served
  const { socket, method = '', url = '' } = req
  const started = performance.now()
  // On a connection that stays, the bytes of the requests before are not of this one.
  const before =
    metrics === undefined ? undefined : { read: socket.bytesRead, written: socket.bytesWritten }
  const finish = metrics?.request(method, url)
  res.once('close', () => {
    onRequest?.(logEntry(served, performance.now() - started))
    if (before === undefined) return
    finish?.({
      status: res.statusCode,
      received: Math.max(0, socket.bytesRead - before.read) + served.taken,
      sent: Math.max(0, socket.bytesWritten - before.written) + served.relayed,
    })
  })
}

function logEntry({ req, res, client, user, ...served }: Served, ms: number): RequestLogEntry {
  const length = served.length ?? Number(res.getHeader('Content-Length') ?? Number.NaN)
  const agent = req.headers['user-agent']
  return {
    method: req.method ?? '',
    target: printable(req.url ?? '', 1000),
    status: res.statusCode,
    ms: Math.round(ms),
    length: Number.isNaN(length) ? undefined : length,
    remote: client.remote,
    agent: agent && printable(agent),
    user,
  }
}
