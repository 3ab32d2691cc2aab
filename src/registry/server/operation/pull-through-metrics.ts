/** What is counted of upstreams: distribution's names, and ours for what it does not do. */
import { Counter, type Registry } from 'prom-client'
import type { Reports } from '../upstream/context.ts'

export type PullThroughMetrics = Pick<Reports, 'served' | 'copied' | 'failed'>

export function pullThroughMetrics(registry: Registry): PullThroughMetrics {
  const byType = (name: string, help: string) =>
    new Counter({ name, help, labelNames: ['type'], registers: [registry] })
  const requests = byType('registry_proxy_requests_total', 'Requests for content of upstreams.')
  const hits = byType('registry_proxy_hits_total', 'Those that copies here were the answer to.')
  const misses = byType('registry_proxy_misses_total', 'Those that the upstream was asked for.')
  const pulled = byType('registry_proxy_pulled_bytes_total', 'Bytes that upstreams gave.')
  const pushed = byType('registry_proxy_pushed_bytes_total', 'Bytes that clients were answered.')
  const stale = byType('tsregistry_proxy_stale_total', 'Hits that the upstream could not confirm.')
  const failures = new Counter({
    name: 'tsregistry_proxy_failures_total',
    help: 'Failures of upstreams.',
    labelNames: ['upstream'],
    registers: [registry],
  })
  return {
    served: ({ kind, how, bytes }) => {
      const of = { type: kind }
      requests.inc(of)
      pushed.inc(of, bytes)
      if (how === 'miss') misses.inc(of)
      else hits.inc(of)
      if (how === 'stale') stale.inc(of)
    },
    copied: ({ kind, size }) => pulled.inc({ type: kind }, size),
    failed: ({ upstream }) => failures.inc({ upstream }),
  }
}
