/** Registries that are pulled through, put together with the log, the metrics and the audit log. */
import type { Logger } from 'pino'
import type { Metrics } from '../../registry/server/operation/metrics.ts'
import type { Reports } from '../../registry/server/upstream/context.ts'
import { createPullThrough, type PullThrough } from '../../registry/server/upstream/pull-through.ts'
import type { RegistryStorage } from '../../registry/storage/registry-storage.ts'
import { authoritiesFrom } from '../authorities.ts'
import type { Environment } from '../environment.ts'
import { programVersion } from '../version.ts'
import type { AuditLog } from './audit-log.ts'
import type { Configured } from './config/apply-config.ts'

export interface PullThroughParts {
  readonly storage: RegistryStorage
  readonly log: Logger
  readonly metrics: Metrics | undefined
  readonly audit: AuditLog
  readonly environment: Environment
  readonly isReadOnly: () => boolean
}

/** `undefined` where nothing is pulled through. */
export function openPullThrough(
  { upstreams }: Pick<Configured, 'upstreams'>,
  parts: PullThroughParts,
): PullThrough | undefined {
  if (upstreams.length === 0) return undefined
  const { environment, storage, isReadOnly } = parts
  return createPullThrough({
    storage,
    upstreams,
    isReadOnly,
    reports: reportsTo(parts),
    network: {
      userAgent: `tsregistry/${programVersion()}`,
      proxies: environment.proxies,
      ca: authoritiesFrom(environment.lookup),
    },
  })
}

function reportsTo({ log, metrics, audit }: PullThroughParts): Reports {
  return {
    served: event => metrics?.pullThrough.served(event),
    copied: event => {
      metrics?.pullThrough.copied(event)
      audit.copied(event)
      log.info(event, `copied a ${event.kind} from "${event.upstream}"`)
    },
    dropped: event => log.info(event, `tag is gone from "${event.upstream}"`),
    failed: ({ error, ...event }) => {
      metrics?.pullThrough.failed({ error, ...event })
      const reason = error instanceof Error ? error.message : String(error)
      log.warn(
        { ...event, reason },
        event.hasCopy ? 'upstream failed: gave a copy' : 'upstream failed',
      )
    },
    notKept: err => log.error({ err }, 'cannot keep what was pulled through'),
  }
}
