/**
 * Tells endpoints what happened: at least once, each in the order in which it happened here.
 *
 * 1. What was changed is in the log, synced, before the client hears that it was done; a pull is
 *    written when the disk has time.
 * 2. Each endpoint reads the log by itself: one that is away holds up neither requests nor the others,
 *    and costs the log's bytes, not memory.
 * 3. Every process sends its own events, and those of processes that are gone (`spool.ts`), for which
 *    it looks all the time. Between the events of two processes there is no order.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Happening } from '../server/exchange.ts'
import { type Connection, connectTo, type Endpoint, type Outcome, wants } from './endpoint.ts'
import { type EventContext, type EventOptions, eventOf, type RegistryEvent } from './event.ts'
import type { EventLog } from './event-log.ts'
import { type HeldLog, openSpool } from './spool.ts'

export interface NotifierOptions extends Pick<EventOptions, 'source' | 'externalUrl'> {
  readonly folder: string
  /** What may wait for endpoints; beyond, the oldest events are lost. */
  readonly maxBytes: number
  readonly userAgent: string
  readonly observer: NotifierObserver
}

export interface Receivers {
  readonly endpoints: readonly Endpoint[]
  readonly includeReferences: boolean
}

/** For the log and the metrics. */
export interface NotifierObserver {
  /** Of each attempt; `failures` is how many in a row, this one included. */
  attempted(endpoint: string, outcome: Outcome, of: { events: number; failures: number }): void
  queued(endpoint: string): void
  /** The events waited too long, or the disk did not take them. */
  lost(endpoint: string | undefined, events: number, reason: string): void
}

export interface Notifier extends AsyncDisposable {
  /** Never throws. */
  record(happened: readonly Happening[], context: EventContext): Promise<void>
  /** From now on these are told. Those that go on keep their place. */
  use(receivers: Receivers): Promise<void>
  /** How many events each endpoint has still to read. */
  pending(): ReadonlyMap<string, number>
}

/** Throws the system's error when the folder cannot be used. Disposing ends attempts under way. */
export async function startNotifier(
  options: NotifierOptions,
  receivers: Receivers,
): Promise<Notifier> {
  const { own, leftBehind, takeOver } = await openSpool(options.folder, options.maxBytes)
  const logs = [own, ...leftBehind]
  let current = receivers
  let running = await startSending(logs, current, options)
  const inTurn = oneAfterTheOther()
  const looking = repeat(takeOverMs, () =>
    inTurn(async () => {
      for (const held of await takeOver()) {
        logs.push(held)
        await running.empty(held)
      }
    }).catch((error: Error) => options.observer.lost(undefined, 0, error.message)),
  )
  return {
    record: async (happened, context) => {
      for (const happening of happened) {
        await record(own.log, { happening, context, options, receivers: current })
      }
    },
    use: next =>
      inTurn(async () => {
        await running.stop()
        current = next
        running = await startSending(logs, current, options)
      }),
    pending: () =>
      new Map(current.endpoints.map(({ name }) => [name, pendingIn(logs, name)] as const)),
    [Symbol.asyncDispose]: async () => {
      await looking[Symbol.asyncDispose]()
      await running.stop()
      for (const held of logs) await held[Symbol.asyncDispose]()
    },
  }
}

/** How often to look for logs whose process is gone: a folder is listed and each log tried. */
const takeOverMs = 2000

/** Runs each task when those before have ended. */
function oneAfterTheOther(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return task => {
    const next = last.then(task)
    last = next.catch(() => {})
    return next
  }
}

/** Disposing waits for a run that is under way. */
function repeat(everyMs: number, task: () => Promise<void>): AsyncDisposable {
  const stop = new AbortController()
  const running = (async () => {
    while (!stop.signal.aborted) {
      await sleep(everyMs, undefined, { signal: stop.signal, ref: false }).catch(() => {})
      if (!stop.signal.aborted) await task()
    }
  })()
  return {
    [Symbol.asyncDispose]: () => {
      stop.abort()
      return running
    },
  }
}

function pendingIn(logs: readonly HeldLog[], endpoint: string): number {
  return logs.reduce((sum, { log }) => sum + log.pending(endpoint), 0)
}

interface Recording {
  readonly happening: Happening
  readonly context: EventContext
  readonly options: NotifierOptions
  readonly receivers: Receivers
}

async function record(
  log: EventLog,
  { happening, context, options, receivers }: Recording,
): Promise<void> {
  const { observer, source, externalUrl } = options
  const target = happening.mediaType === undefined ? {} : { mediaType: happening.mediaType }
  const told = receivers.endpoints.filter(each => wants(each, { action: happening.action, target }))
  if (told.length === 0) return
  const { includeReferences } = receivers
  const event = eventOf(happening, context, { source, externalUrl, includeReferences })
  const isPull = happening.action === 'pull'
  const written = log.append(JSON.stringify(event), { isSynced: !isPull }).then(
    () => {
      for (const { name } of told) observer.queued(name)
    },
    (error: Error) => observer.lost(undefined, 1, error.message),
  )
  if (!isPull) await written
}

interface Sending {
  /** Begins to send what a process left behind, and removes it in the end. */
  empty(held: HeldLog): Promise<void>
  stop(): Promise<void>
}

async function startSending(
  logs: HeldLog[],
  { endpoints }: Receivers,
  options: NotifierOptions,
): Promise<Sending> {
  const names = new Set(endpoints.map(({ name }) => name))
  for (const { log } of logs) await log.useReaders(names)
  const [own, ...leftBehind] = logs
  const stop = new AbortController()
  const { signal } = stop
  const send = async (endpoint: Endpoint, log: EventLog, isOwn: boolean) => {
    await using connection = connectTo(endpoint, options.userAgent)
    await sendLog(log, { endpoint, connection, signal, isEndless: isOwn, ...options })
  }
  const sending = endpoints.flatMap(endpoint =>
    own === undefined ? [] : [send(endpoint, own.log, true)],
  )
  const empty = async (held: HeldLog) => {
    await Promise.all(endpoints.map(endpoint => send(endpoint, held.log, false)))
    if (signal.aborted || !held.log.isRead()) return
    await held.remove()
    await held[Symbol.asyncDispose]()
    logs.splice(logs.indexOf(held), 1)
  }
  const emptying = leftBehind.map(empty)
  return {
    empty: async held => {
      await held.log.useReaders(names)
      emptying.push(empty(held))
    },
    stop: async () => {
      stop.abort()
      await Promise.all([...sending, ...emptying])
    },
  }
}

interface SendingTo {
  readonly endpoint: Endpoint
  readonly connection: Connection
  readonly observer: NotifierObserver
  readonly signal: AbortSignal
  /** Whether more may come. */
  readonly isEndless: boolean
}

/** Until the signal aborts, or the log is read. */
async function sendLog(log: EventLog, sending: SendingTo): Promise<void> {
  const { endpoint, observer, signal, isEndless } = sending
  while (!signal.aborted) {
    try {
      const changed = new AbortController()
      const change = log.changed(AbortSignal.any([signal, changed.signal]))
      const { lines, cursor, missed } = await log.read(endpoint.name, endpoint.batch)
      if (missed > 0) observer.lost(endpoint.name, missed, 'the queue is full')
      if (lines.length === 0) {
        if (!isEndless) return
        await change
        continue
      }
      changed.abort()
      const events = lines.flatMap(parseEvent).filter(event => wants(endpoint, event))
      if (events.length > 0 && !(await deliver(events, sending))) return
      await log.advance(endpoint.name, cursor)
    } catch (error) {
      // The disk, most likely: what cannot be read now is read later.
      observer.lost(endpoint.name, 0, (error as Error).message)
      await sleep(endpoint.backoffMs, undefined, { signal }).catch(() => {})
    }
  }
}

function parseEvent(line: string): RegistryEvent[] {
  try {
    return [JSON.parse(line) as RegistryEvent]
  } catch {
    return []
  }
}

/** Again and again until it is taken; `false` when the signal aborted first. */
async function deliver(
  events: readonly RegistryEvent[],
  { endpoint, connection, observer, signal }: SendingTo,
): Promise<boolean> {
  for (let failures = 0; ; ) {
    const outcome = await connection.send(events, signal)
    if (signal.aborted && outcome.kind === 'failed') return false
    if (outcome.kind === 'failed') failures++
    observer.attempted(endpoint.name, outcome, { events: events.length, failures })
    if (outcome.kind === 'sent') return true
    const wait = Math.max(pauseMs(endpoint, failures), outcome.retryAfterMs ?? 0)
    await sleep(wait, undefined, { signal }).catch(() => {})
    if (signal.aborted) return false
  }
}

/** Soon again at first, for an endpoint that only restarts. */
function pauseMs({ threshold, backoffMs }: Endpoint, failures: number): number {
  return failures >= threshold ? backoffMs : Math.min(backoffMs, 50 * 2 ** (failures - 1))
}
