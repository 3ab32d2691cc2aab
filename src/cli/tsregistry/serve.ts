/** `tsregistry serve`: storage, server and log put together, until a signal stops them. */
import { setFlagsFromString } from 'node:v8'
import type { Logger } from 'pino'
import type { AccessControl } from '../../registry/server/access/open-access-control.ts'
import type { RequestLogEntry } from '../../registry/server/application.ts'
import { type Listener, listen } from '../../registry/server/listen.ts'
import { createHealth } from '../../registry/server/operation/health.ts'
import { measuredStore } from '../../registry/server/operation/measured-store.ts'
import { createMetrics, type Metrics } from '../../registry/server/operation/metrics.ts'
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import type { Findings } from '../../registry/storage/s3/probe.ts'
import { usageError } from '../cli-error.ts'
import { type CliContext, type Command, defineCommand } from '../command.ts'
import { programVersion } from '../version.ts'
import { accessOptions, openAccessFrom } from './access-flags.ts'
import { explainListenFailure, isLoopback, parseAddress } from './address.ts'
import { type AuditLog, openAuditLog } from './audit-log.ts'
import { collectOptions } from './collect-flags.ts'
import { type Configured, configure, type Given } from './config/apply-config.ts'
import { mustNotBeDistributions } from './copy-place.ts'
import { serveDebug } from './debug-server.ts'
import { startHousekeeping } from './housekeeping.ts'
import { isImmutableFrom } from './immutable-tags-flag.ts'
import { openLimits, readLimits } from './limits.ts'
import { createLog } from './log.ts'
import { networksFrom } from './networks.ts'
import { openNotifications, readReceivers } from './notifications.ts'
import { openPullThrough } from './pull-through.ts'
import { redirectsFrom } from './redirects.ts'
import { keepReloading, LiveSettings } from './reload.ts'
import { serveFlags } from './serve-flags.ts'
import { assertStorable, type OpenStorage, openStorage } from './storage-place.ts'
import { readTls } from './tls-flags.ts'

export const serveCommand: Command = defineCommand({
  name: 'serve',
  usage: '[FLAGS] [CONFIG.YML]',
  summary: 'Serve the registry until stopped',
  examples: [
    'tsregistry serve',
    'tsregistry serve /etc/tsregistry/config.yml',
    'tsregistry serve --addr 127.0.0.1:0 --root ./registry',
    'tsregistry serve --htpasswd users --policy policy.yaml',
    'tsregistry serve --upstream docker.io --upstream quay.io',
    'tsregistry serve --storage s3://bucket/prefix?region=eu-central-1',
  ],
  arity: { min: 0, max: 1 },
  flags: serveFlags,
  run: async ({ flags, args, ...context }) => {
    keepYoungGenerationSmall()
    const [config = flags.config] = args
    const source = { ...context, flags: { ...flags, config } }
    return await serve(await configure(source), source)
  },
})

/**
 * Bodies come in buffers beside V8's heap, which are freed with the young generation. Grown to its 16
 * MiB that is collected so seldom that V8 collects everything for them instead: a third of the
 * processor time of a push (measured).
 */
function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
}

async function serve(configured: Configured, context: Given & CliContext): Promise<number> {
  const { flags, place } = configured
  const parts = await readParts(configured)
  const log = createLog(flags['log-level'], fieldsOf(configured))
  for (const line of configured.withoutEffect) log.warn(`configuration: without effect: ${line}`)
  const audit = openAuditLog(flags['audit-log'])
  const metrics = flags['debug-addr'] === undefined ? undefined : createMetrics(programVersion())
  mustNotBeDistributions(place)
  await using store = await openStorage(place)
  if (!flags['read-only']) assertStorable(place)
  const storage = createRegistryStorage(measured(store, place.kind, metrics), parts.storage)
  await using access = await openAccessFrom(parts.access, { objects: store.objects, log })
  const health = createHealth(store.objects, store.mayWrite)
  const live = new LiveSettings(configured)
  await using notifications = await openNotifications(configured, {
    receivers: parts.receivers,
    log,
    metrics,
  })
  const limits = openLimits(parts.limits, { storage, metrics })
  const { environment } = context
  const isReadOnly = () => live.isReadOnly || limits.maintenance() !== undefined
  const through = { storage, log, metrics, audit, environment, isReadOnly }
  await using pullThrough = openPullThrough(configured, through) ?? null
  const listener = await explainListenFailure(flags.addr, () =>
    listen({
      onHappened: notifications.record,
      limits,
      ...parts.listen,
      ...serverParts({ live, log, metrics, store, access }),
      storage,
      pullThrough: pullThrough ?? undefined,
      health,
      onRequest: onRequestOf(configured, { log, audit }),
    }),
  )
  await using debug = await serveDebug(flags, { health, metrics })
  announce(listener, { store, debug, log, isOpen: parts.access === undefined, context })
  await using _housekeeping = startHousekeeping(storage, {
    ...parts.housekeeping,
    isPaused: isReadOnly,
    unusedCopiesMs: pullThrough?.keepMs,
    onCollected: report => {
      metrics?.collected(report)
      limits.quotas.lookAgain()
    },
    log,
  })
  await using _reloading = await keepReloading({
    context,
    configured,
    listener,
    access,
    log,
    live,
    metrics,
    notifications,
    limits,
  })
  await aborted(context.signal)
  health.drain()
  log.info('stopping: waiting for requests under way')
  await listener.close(flags['drain-timeout'])
  log.info('stopped')
  return 0
}

/** All that flags can be wrong about, before anything is opened. Throws usage errors and `invalid`. */
export async function readParts(configured: Configured) {
  const { flags, given, place } = configured
  const isImmutable = isImmutableFrom(flags)
  return {
    access: accessOptions(flags, { given, isMutual: flags['client-ca'].length > 0 }),
    listen: {
      ...parseAddress(flags.addr),
      redirects: redirectsFrom(flags.redirect, place),
      isProxy: networksFrom('trusted-proxy', flags['trusted-proxy']),
      clientUploads: clientUploadsFrom(flags['client-uploads']),
      tls: await readTls(flags),
    },
    receivers: await readReceivers(configured),
    limits: readLimits(flags),
    storage: {
      missingReferences: flags['missing-references'],
      isImmutable,
      verifyReads: flags['verify-reads'] / 100,
    },
    housekeeping: {
      ...(await collectOptions(flags)),
      purging: configured.purging,
      intervalMs: flags['gc-interval'],
      uploadExpiryMs: flags['upload-expiry'],
    },
  }
}

/** `undefined` where nobody would read it: an entry costs more than a look at the storage. */
function onRequestOf(
  { flags, accessLog }: Configured,
  { log, audit }: { readonly log: Logger; readonly audit: AuditLog },
): ((entry: RequestLogEntry) => void) | undefined {
  const isLogged = accessLog && log.isLevelEnabled('info')
  if (!isLogged && flags['audit-log'] === undefined) return undefined
  return entry => {
    audit.take(entry)
    if (isLogged) log.info(entry, 'request')
  }
}

function fieldsOf({ logFields }: Configured): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(logFields).map(([name, texts]) => [name, texts.length === 1 ? texts[0] : texts]),
  )
}

interface ServerParts {
  readonly live: LiveSettings
  readonly log: Logger
  readonly metrics: Metrics | undefined
  readonly store: OpenStorage
  readonly access: AccessControl
}

function serverParts({ live, log, metrics, store: { findings }, access }: ServerParts) {
  return {
    access,
    metrics,
    isOffered: live.isOffered,
    headers: () => live.headers,
    ...(findings === undefined ? {} : { storageMode: `s3, ${findings.mode}` }),
    onError: (error: unknown) => log.error({ err: error }, 'request failed'),
  }
}

function measured({ objects, findings }: OpenStorage, kind: string, metrics: Metrics | undefined) {
  if (metrics === undefined) return objects
  const driver = kind === 's3' ? 's3aws' : kind
  metrics.storage(driver, findings?.mode ?? 'single-writer')
  return measuredStore(objects, driver, metrics)
}

interface Announced {
  readonly store: OpenStorage
  readonly debug: { readonly url: string | undefined }
  readonly log: Logger
  /** Whether nobody has to log in. */
  readonly isOpen: boolean
  readonly context: Pick<CliContext, 'stdout'>
}

function announce(listener: Listener, { store, debug, log, isOpen, context }: Announced): void {
  context.stdout.write(`Listening on ${urlOf(listener)}, storing in ${store.name}\n`)
  if (debug.url !== undefined) context.stdout.write(`Probes and metrics on ${debug.url}\n`)
  if (store.findings !== undefined) logFindings(log, store.findings)
  if (isOpen && !isLoopback(listener.host)) {
    log.warn('everybody who can reach this address may pull, push and delete')
  }
}

function logFindings(log: Logger, { mode, listing, lacks }: Findings): void {
  const entry = { mode, listing, lacks }
  if (mode === 'full') log.info(entry, 'the storage decides conditions: any number may serve')
  else log.warn(entry, 'the storage decides no conditions: this process alone may write')
}

function urlOf({ host, port, isEncrypted }: Listener): string {
  return `http${isEncrypted ? 's' : ''}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function clientUploadsFrom(count: number): number {
  if (count >= 0) return count
  throw usageError('Cannot use flag --client-uploads: expected 0 or more')
}
