/** A listener of its own for what no client should see: metrics and probes. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Health } from './health.ts'
import type { Metrics } from './metrics.ts'

export interface DebugOptions {
  /** Empty: every address of the machine. */
  readonly host: string
  readonly port: number
  readonly health: Health
  /** Absent: there is no page of metrics. */
  readonly metrics?: Metrics | undefined
  readonly metricsPath: string
}

export interface DebugListener extends AsyncDisposable {
  readonly host: string
  readonly port: number
}

/** Throws the system's error when the address cannot be had. */
export async function listenForDebug(options: DebugOptions): Promise<DebugListener> {
  const server = createServer({ requestTimeout: 10_000 }, (req, res) => {
    answer(options, req, res).catch(() => res.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    const { host, port } = options
    server.listen(host === '' ? { port } : { host, port }, resolve)
  })
  const { address, port } = server.address() as AddressInfo
  return {
    host: address,
    port,
    [Symbol.asyncDispose]: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(
  { health, metrics, metricsPath }: DebugOptions,
  { method, url = '/' }: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const path = url.split('?', 1)[0]
  if (method !== 'GET' && method !== 'HEAD') return reply(res, 405, 'only GET\n')
  if (path === '/livez' || path === '/healthz') return reply(res, 200, 'ok\n')
  if (path === '/readyz') {
    const reason = await health.whyNotReady()
    return reply(res, reason === undefined ? 200 : 503, `${reason ?? 'ok'}\n`)
  }
  if (path !== metricsPath || metrics === undefined) return reply(res, 404, 'not found\n')
  res.setHeader('Content-Type', metrics.contentType)
  reply(res, 200, await metrics.render())
}

function reply(res: ServerResponse, status: number, text: string): void {
  if (!res.hasHeader('Content-Type')) res.setHeader('Content-Type', 'text/plain; charset=utf-8')
  res.statusCode = status
  res.end(text)
}
