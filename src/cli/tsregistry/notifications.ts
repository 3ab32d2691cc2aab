/** `notifications` of `config.yml`: the endpoints, and who tells them. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { OciError, printable } from '../../oci/errors.ts'
import type { Endpoint } from '../../registry/notifications/endpoint.ts'
import { actions, type EventAction } from '../../registry/notifications/event.ts'
import {
  type EventFormat,
  mostEvents,
  signingKey,
} from '../../registry/notifications/event-format.ts'
import {
  type Notifier,
  type NotifierObserver,
  type NotifierOptions,
  type Receivers,
  startNotifier,
} from '../../registry/notifications/notifier.ts'
import type { Metrics } from '../../registry/server/operation/metrics.ts'
import { programVersion } from '../version.ts'
import { parseAddress } from './address.ts'
import { type Configured, checkHeaders } from './config/apply-config.ts'
import type { ListEntry } from './config/key-list.ts'
import type { Texts } from './config/key-value.ts'

/** Throws `invalid` with the endpoint that cannot be. What it says has no secret in it. */
export async function readReceivers(configured: Configured): Promise<Receivers> {
  const { notifications } = configured
  const used = notifications.endpoints.filter(entry => entry['disabled'] !== true)
  const endpoints = await Promise.all(used.map(endpointFrom))
  const names = endpoints.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw wrong(twice, 'two endpoints have this name')
  if (endpoints.length > 0) queueFolder(configured)
  return { endpoints, includeReferences: notifications.includeReferences }
}

async function endpointFrom(entry: ListEntry): Promise<Endpoint> {
  const name = String(entry['name'])
  if (!/^[\x21-\x7e]{1,100}$/.test(name))
    throw wrong(name, 'expected up to 100 letters as its name')
  const format = entry['format'] as EventFormat
  const texts = (key: string) => (entry[key] as readonly string[] | undefined) ?? []
  const key = entry['signingkeyfile'] as string | undefined
  return {
    name,
    url: addressOf(name, String(entry['url'])),
    headers: checkHeaders((entry['headers'] as Texts | undefined) ?? {}, placeOf(name, 'headers')),
    timeoutMs: atLeastOne(name, 'timeout', entry['timeout']),
    threshold: atLeastOne(name, 'threshold', entry['threshold']),
    backoffMs: atLeastOne(name, 'backoff', entry['backoff']),
    ignoredActions: new Set(texts('ignore.actions').map(action => actionOf(name, action))),
    ignoredMediaTypes: new Set([...texts('ignore.mediatypes'), ...texts('ignoredmediatypes')]),
    format,
    batch: Math.min(atLeastOne(name, 'batch', entry['batch']), mostEvents(format)),
    ...(key === undefined ? {} : { signingKey: await keyFrom(name, key) }),
  }
}

function addressOf(name: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url
  throw wrong(name, 'url: expected an address such as https://listener.example/events')
}

function actionOf(name: string, text: string): EventAction {
  const action = actions.find(each => each === text)
  if (action !== undefined) return action
  throw wrong(name, `ignore.actions: expected ${actions.join(', ')}, got "${printable(text, 40)}"`)
}

function atLeastOne(name: string, key: string, value: unknown): number {
  if (typeof value === 'number' && value >= 1) return value
  throw wrong(name, `${key}: expected more than 0`)
}

async function keyFrom(name: string, file: string): Promise<Buffer> {
  try {
    const key = signingKey(await readFile(file, 'utf8'))
    if (key.length >= 16) return key
  } catch (cause) {
    throw wrong(name, `signingkeyfile: ${(cause as Error).message}`)
  }
  throw wrong(name, 'signingkeyfile: expected a key of 16 bytes or more')
}

function placeOf(name: string, key: string): string {
  return `notifications.endpoints: "${printable(name, 100)}": ${key}`
}

function wrong(name: string, problem: string): OciError {
  return new OciError('invalid', placeOf(name, problem))
}

export interface Notifications extends AsyncDisposable {
  /** Never throws. */
  readonly record: Notifier['record']
  /** Throws the system's error for a queue that cannot be opened, which it is for the first endpoint. */
  use(receivers: Receivers): Promise<void>
}

export interface NotificationParts {
  readonly receivers: Receivers
  readonly log: Logger
  readonly metrics: Metrics | undefined
}

/** Throws the system's error for a queue that cannot be opened. */
export async function openNotifications(
  configured: Configured,
  { receivers, log, metrics }: NotificationParts,
): Promise<Notifications> {
  let notifier: Notifier | undefined
  const use = async (next: Receivers) => {
    if (notifier !== undefined) return notifier.use(next)
    if (next.endpoints.length === 0) return
    const options = { ...notifierOptions(configured), observer: observe(log, metrics) }
    notifier = await startNotifier(options, next)
  }
  await use(receivers)
  metrics?.notifications.watchPending(() => notifier?.pending() ?? new Map())
  return {
    record: async (happened, context) => notifier?.record(happened, context),
    use,
    [Symbol.asyncDispose]: async () => notifier?.[Symbol.asyncDispose](),
  }
}

function notifierOptions(configured: Configured): Omit<NotifierOptions, 'observer'> {
  const { flags } = configured
  const { port } = parseAddress(flags.addr)
  return {
    folder: queueFolder(configured),
    maxBytes: Math.max(flags['event-queue-size'], 1024 * 1024),
    userAgent: `tsregistry/${programVersion()}`,
    source: { addr: `${hostname()}:${port}`, instanceID: randomUUID() },
    externalUrl: flags['external-url'] === undefined ? undefined : new URL(flags['external-url']),
  }
}

function queueFolder({ flags, place }: Configured): string {
  const { 'event-queue': folder } = flags
  if (folder !== undefined) return folder
  if (place.kind === 'filesystem') return join(place.root, 'notifications')
  throw new OciError(
    'invalid',
    'Cannot send notifications: expected tsregistry.notifications.queue, a folder where they wait',
    { hint: 'Each replica needs one that outlives it, such as a volume' },
  )
}

/** One line when an endpoint begins to fail and one when it is well again, not one for each attempt. */
function observe(log: Logger, metrics: Metrics | undefined): NotifierObserver {
  const failing = new Set<string>()
  return {
    attempted: (endpoint, outcome, { events, failures }) => {
      const { status } = outcome
      if (status !== undefined) metrics?.notifications.answered(endpoint, status)
      metrics?.notifications.sent(
        endpoint,
        outcome.kind === 'sent' ? 'Successes' : 'Failures',
        events,
      )
      if (outcome.kind === 'sent') {
        if (failing.delete(endpoint)) log.info({ endpoint }, 'notifications: it takes events again')
        return
      }
      if (failures < 2 || failing.has(endpoint)) return
      failing.add(endpoint)
      log.warn({ endpoint, reason: outcome.reason }, 'notifications: it takes no events: they wait')
    },
    queued: endpoint => metrics?.notifications.sent(endpoint, 'Events', 1),
    lost: (endpoint, events, reason) => {
      if (events > 0) metrics?.notifications.lost(endpoint ?? '', events)
      log.error({ endpoint, events, reason }, 'notifications: events are lost')
    },
  }
}
