/** The listener for metrics and probes, when there is an address for it. */
import { listenForDebug } from '../../registry/server/operation/debug-listener.ts'
import type { Health } from '../../registry/server/operation/health.ts'
import type { Metrics } from '../../registry/server/operation/metrics.ts'
import { usageError } from '../cli-error.ts'
import { explainListenFailure, parseAddress } from './address.ts'
import type { ServeFlags } from './serve-flags.ts'

export interface DebugServer extends AsyncDisposable {
  readonly url: string | undefined
}

/** Throws a usage error, and `conflict` for an address in use. */
export async function serveDebug(
  flags: ServeFlags,
  { health, metrics }: { readonly health: Health; readonly metrics: Metrics | undefined },
): Promise<DebugServer> {
  const { 'debug-addr': addr, 'metrics-path': metricsPath } = flags
  if (addr === undefined) return { url: undefined, [Symbol.asyncDispose]: async () => {} }
  if (!metricsPath.startsWith('/')) {
    throw usageError(`Cannot use flag --metrics-path: expected /PATH, got "${metricsPath}"`)
  }
  const listener = await explainListenFailure(addr, () =>
    listenForDebug({
      ...parseAddress(addr),
      health,
      metricsPath,
      metrics: flags.metrics ? metrics : undefined,
    }),
  )
  const { host, port } = listener
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  }
}
