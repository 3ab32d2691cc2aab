/**
 * SIGHUP, and certificates that were renewed: what can change while requests are under way.
 *
 * A configuration that cannot be used any more leaves everything as it was.
 */
import type { Logger } from 'pino'
import type { Action } from '../../registry/server/access/action.ts'
import type { AccessControl } from '../../registry/server/access/open-access-control.ts'
import { type Watched, watch } from '../../registry/server/access/watched-file.ts'
import type { Listener } from '../../registry/server/listen.ts'
import type { Metrics } from '../../registry/server/operation/metrics.ts'
import type { CliContext } from '../command.ts'
import { type Configured, configure, type Given } from './config/apply-config.ts'
import type { Texts } from './config/key-value.ts'
import { keys } from './config/keys.ts'
import { type LiveLimits, readLimits } from './limits.ts'
import { type Notifications, readReceivers } from './notifications.ts'
import { readTls, tlsFiles } from './tls-flags.ts'

/** What requests ask of the configuration each time. */
export class LiveSettings {
  #configured: Configured

  constructor(configured: Configured) {
    this.#configured = configured
  }

  take(configured: Configured): void {
    this.#configured = configured
  }

  get headers(): Texts {
    return this.#configured.headers
  }

  get isReadOnly(): boolean {
    return this.#configured.flags['read-only']
  }

  readonly isOffered = (action: Action): boolean => {
    if (action === 'delete') return !this.isReadOnly && this.#configured.flags.delete
    return !this.isReadOnly || !['push', 'undo'].includes(action)
  }
}

export interface Reloading {
  readonly context: Given & Pick<CliContext, 'interrupts'>
  readonly configured: Configured
  readonly listener: Listener
  readonly access: AccessControl
  readonly log: Logger
  readonly live: LiveSettings
  readonly metrics: Metrics | undefined
  readonly limits: Pick<LiveLimits, 'use'>
  readonly notifications: Pick<Notifications, 'use'>
}

/** Until disposed. Failures are logged, and counted. */
export async function keepReloading(parts: Reloading): Promise<AsyncDisposable> {
  const { context, configured, log, metrics } = parts
  let certificates = await watchCertificates(parts, configured)
  const unwatch = () => {
    for (const file of certificates) file[Symbol.dispose]()
  }
  let running = Promise.resolve()
  const reload = async () => {
    try {
      const next = await readAgain(parts)
      unwatch()
      certificates = await watchCertificates(parts, next)
      metrics?.reloaded(true)
      log.info('configuration: read again')
    } catch (err) {
      metrics?.reloaded(false)
      log.error({ err }, 'configuration: not read again, everything stays as it was')
    }
  }
  const hangup = context.interrupts.onHangup(() => {
    running = running.then(reload)
  })
  log.debug({ config: configured.flags.config }, 'SIGHUP reads the configuration again')
  return {
    [Symbol.asyncDispose]: async () => {
      hangup[Symbol.dispose]()
      await running
      unwatch()
    },
  }
}

async function readAgain(parts: Reloading): Promise<Configured> {
  const { context, listener, access, log, live, configured } = parts
  const next = await configure(context)
  const tls = await readTls(next.flags)
  const receivers = await readReceivers(next)
  const limits = readLimits(next.flags)
  const before = tlsMode(configured)
  await access.reload()
  // From here on nothing fails.
  const isSameMode = before === tlsMode(next)
  if (tls !== undefined && isSameMode) listener.useCertificates(tls)
  log.level = next.flags['log-level']
  live.take(next)
  parts.limits.use(limits)
  await parts.notifications.use(receivers)
  const later = [...waitingForRestart(configured, next), ...(isSameMode ? [] : ['http.tls'])]
  if (later.length > 0) log.warn({ keys: later }, 'configuration: taken at the next start')
  return next
}

/** What a server that listens cannot change: whether there is TLS, and whether clients show theirs. */
function tlsMode({ flags }: Configured): string {
  const isMutual = flags['client-ca'].length > 0
  return `${flags['tls-cert'] !== undefined} ${isMutual && flags['client-auth']}`
}

function waitingForRestart(before: Configured, after: Configured): readonly string[] {
  const isOther = (one: unknown, other: unknown) => JSON.stringify(one) !== JSON.stringify(other)
  const ofFlags = keys.flatMap(key => {
    if (key.use !== 'taken' || key.flag === undefined || key.reload === true) return []
    return isOther(before.flags[key.flag], after.flags[key.flag]) ? [key.path] : []
  })
  return [
    ...ofFlags,
    ...(isOther(before.place, after.place) ? ['storage'] : []),
    ...(isOther(before.upstreams, after.upstreams) ? ['proxy', 'tsregistry.upstreams'] : []),
    ...(isOther(before.logFields, after.logFields) ? ['log.fields'] : []),
    ...(isOther(before.purging, after.purging) ? ['storage.maintenance.uploadpurging'] : []),
    ...(before.accessLog === after.accessLog ? [] : ['log.accesslog.disabled']),
  ]
}

/**
 * A pair that does not fit yet, between the writing of its two files, is tried again: also one that is
 * renewed as the server starts, which has the pair of before.
 */
async function watchCertificates(
  { listener, log }: Reloading,
  configured: Configured,
): Promise<readonly Watched<unknown>[]> {
  const onError = (err: unknown) => log.warn({ err }, 'certificates: not read again')
  const load = async () => {
    try {
      const tls = await readTls(configured.flags)
      if (tls !== undefined) listener.useCertificates(tls)
    } catch (error) {
      onError(error)
    }
  }
  return await Promise.all(tlsFiles(configured.flags).map(path => watch({ path, load, onError })))
}
