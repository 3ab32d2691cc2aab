/** What is counted and measured, in Prometheus' form: distribution's names, where it has one. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { type Endpoint, parseTarget } from '../request-path.ts'
import { type NotificationMetrics, notificationMetrics } from './notification-metrics.ts'
import { type PullThroughMetrics, pullThroughMetrics } from './pull-through-metrics.ts'

export interface FinishedRequest {
  readonly status: number
  readonly received: number
  readonly sent: number
}

export interface CollectedGarbage {
  readonly removed: Readonly<Record<string, number>>
  readonly freed: number
}

export interface Metrics {
  readonly contentType: string
  /** Text of the exposition format. */
  render(): Promise<string>
  /** Called when a request begins; the function it gives is called once, at the reply's end. */
  request(method: string, target: string): (finished: FinishedRequest) => void
  /** Called when the storage is asked; the function it gives is called once, when it has answered. */
  storageAction(driver: string, action: string): () => void
  collected(garbage: CollectedGarbage): void
  /** Once, when it is open. `mode`: whether others may write, `full`, or not, `single-writer`. */
  storage(driver: string, mode: string): void
  /** A request, by a rule of the operator's. */
  refused(kind: 'rate' | 'quota', rule: string): void
  readonly notifications: NotificationMetrics
  /** Of registries that are pulled through. */
  readonly pullThrough: PullThroughMetrics
  /** How the last reading again of the configuration went. */
  reloaded(succeeded: boolean): void
}

/** Gauges that prom-client calls totals, which promtool refuses. */
const misnamed = ['handles', 'requests', 'resources'].map(name => `nodejs_active_${name}_total`)

/** A registry of its own: several servers in one process do not count each other's. */
export function createMetrics(version: string): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const name of misnamed) registry.removeSingleMetric(name)
  new Gauge({
    name: 'tsregistry_build_info',
    help: 'The version that runs, as a label.',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version }, 1)
  const kind = new Gauge({
    name: 'tsregistry_storage_info',
    help: 'Where is stored, and whether other processes may write there, as labels.',
    labelNames: ['driver', 'mode'],
    registers: [registry],
  })
  const requests = requestMetrics(registry)
  const storage = new Histogram({
    name: 'registry_storage_action_seconds',
    help: 'How long the storage took.',
    labelNames: ['driver', 'action'],
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10],
    registers: [registry],
  })
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    request: requests,
    storageAction: (driver, action) => storage.startTimer({ driver, action }),
    storage: (driver, mode) => kind.set({ driver, mode }, 1),
    collected: garbageMetrics(registry),
    notifications: notificationMetrics(registry),
    refused: refusalMetrics(registry),
    pullThrough: pullThroughMetrics(registry),
    reloaded: reloadMetrics(registry),
  }
}

function requestMetrics(registry: Registry): Metrics['request'] {
  const of = { registers: [registry] }
  const byHandler = { labelNames: ['handler', 'method'] as const, ...of }
  const byCode = { labelNames: ['code', 'handler', 'method'] as const, ...of }
  const count = new Counter({
    name: 'registry_http_requests_total',
    help: 'Requests that were answered.',
    ...byCode,
  })
  const inFlight = new Gauge({
    name: 'registry_http_in_flight_requests',
    help: 'Requests under way.',
    labelNames: ['handler'],
    ...of,
  })
  const duration = new Histogram({
    name: 'registry_http_request_duration_seconds',
    help: 'How long requests took, their bodies included.',
    buckets: [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600],
    ...byHandler,
  })
  const received = new Counter({
    name: 'registry_http_request_bytes_total',
    help: 'Bytes received on the connections of requests.',
    ...byHandler,
  })
  const sent = new Counter({
    name: 'registry_http_response_bytes_total',
    help: 'Bytes sent on the connections of requests.',
    ...byHandler,
  })
  return (typed, target) => {
    const handler = handlerOf(target)
    const method = methods.has(typed) ? typed.toLowerCase() : 'other'
    const stop = duration.startTimer({ handler, method })
    inFlight.inc({ handler })
    return finished => {
      stop()
      inFlight.dec({ handler })
      count.inc({ code: String(finished.status), handler, method })
      received.inc({ handler, method }, finished.received)
      sent.inc({ handler, method }, finished.sent)
    }
  }
}

function garbageMetrics(registry: Registry): Metrics['collected'] {
  const runs = new Counter({
    name: 'tsregistry_gc_runs_total',
    help: 'Collections of garbage that ended.',
    registers: [registry],
  })
  const removed = new Counter({
    name: 'tsregistry_gc_removed_total',
    help: 'What they removed.',
    labelNames: ['kind'],
    registers: [registry],
  })
  const freed = new Counter({
    name: 'tsregistry_gc_freed_bytes_total',
    help: 'Bytes that they freed.',
    registers: [registry],
  })
  return garbage => {
    runs.inc()
    freed.inc(garbage.freed)
    for (const [kind, number] of Object.entries(garbage.removed)) removed.inc({ kind }, number)
  }
}

function refusalMetrics(registry: Registry): Metrics['refused'] {
  const refused = new Counter({
    name: 'tsregistry_refused_requests_total',
    help: 'Requests that a rate limit or a quota refused, by its rule.',
    labelNames: ['kind', 'rule'],
    registers: [registry],
  })
  return (kind, rule) => refused.inc({ kind, rule })
}

function reloadMetrics(registry: Registry): Metrics['reloaded'] {
  const reloads = new Counter({
    name: 'tsregistry_reloads_total',
    help: 'Times that the configuration was read again.',
    labelNames: ['result'],
    registers: [registry],
  })
  return succeeded => reloads.inc({ result: succeeded ? 'success' : 'failure' })
}

/** Of the client's words only those that we know become labels: every label is memory for good. */
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])

const handlers: Readonly<Partial<Record<Endpoint['kind'], string>>> = {
  uploads: 'blob_upload',
  upload: 'blob_upload_chunk',
}

function handlerOf(target: string): string {
  try {
    const { kind } = parseTarget(target).endpoint
    return handlers[kind] ?? kind.replaceAll('-', '_')
  } catch {
    return 'page'
  }
}
