/** What is counted of notifications: distribution's names, and what it has no name for. */
import { Counter, Gauge, type Registry } from 'prom-client'

export interface NotificationMetrics {
  sent(endpoint: string, type: 'Events' | 'Successes' | 'Failures', events: number): void
  answered(endpoint: string, status: number): void
  lost(endpoint: string, events: number): void
  /** Asked whenever the metrics are. */
  watchPending(pending: () => ReadonlyMap<string, number>): void
}

export function notificationMetrics(registry: Registry): NotificationMetrics {
  const of = { registers: [registry] }
  const events = new Counter({
    name: 'registry_notifications_events_total',
    help: 'Events that were queued, sent, and tried to be sent without success.',
    labelNames: ['type', 'endpoint'],
    ...of,
  })
  const status = new Counter({
    name: 'registry_notifications_status_total',
    help: 'Answers of endpoints.',
    labelNames: ['code', 'endpoint'],
    ...of,
  })
  const lost = new Counter({
    name: 'tsregistry_notifications_lost_total',
    help: 'Events that no endpoint, or not this one, will get: the queue or the disk was full.',
    labelNames: ['endpoint'],
    ...of,
  })
  let ask = (): ReadonlyMap<string, number> => new Map()
  new Gauge({
    name: 'registry_notifications_pending',
    help: 'Events that the endpoint has still to get or to pass over.',
    labelNames: ['endpoint'],
    ...of,
    collect() {
      this.reset()
      for (const [endpoint, number] of ask()) this.set({ endpoint }, number)
    },
  })
  return {
    sent: (endpoint, type, number) => events.inc({ type, endpoint }, number),
    answered: (endpoint, code) => status.inc({ code: String(code), endpoint }),
    lost: (endpoint, number) => lost.inc({ endpoint }, number),
    watchPending: pending => {
      ask = pending
    },
  }
}
