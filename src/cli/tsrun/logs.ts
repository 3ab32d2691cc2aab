import type { Writable } from 'node:stream'
import { logFile } from '../../layerfs/runtime/container-files.ts'
import {
  type Container,
  findContainer,
  listContainers,
} from '../../layerfs/runtime/container-list.ts'
import { type LogRecord, readLog } from '../../layerfs/runtime/container-log.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand, type Invocation } from '../command.ts'
import { parseMoment } from '../moment.ts'

const logsFlags = {
  follow: { kind: 'boolean', short: 'f', help: 'Go on until the container has ended' },
  tail: {
    kind: 'string',
    short: 'n',
    value: 'LINES',
    default: 'all',
    help: 'Only that many lines from the end',
  },
  since: { kind: 'string', value: 'TIME', help: 'Only what is newer: 10m, 2026-05-01T12:00:00Z' },
  until: { kind: 'string', value: 'TIME', help: 'Only what is older' },
  timestamps: { kind: 'boolean', short: 't', help: 'Begin each line with its time' },
} as const

export const logsCommand: Command = defineCommand({
  name: 'logs',
  usage: '[FLAGS] CONTAINER',
  summary: 'Print what a detached container wrote',
  examples: ['logs web', 'logs -f --tail 20 web', 'logs --since 10m -t web'],
  flags: logsFlags,
  unsupported: { details: { reason: 'There are no details' } },
  arity: { min: 1, max: 1 },
  run: async invocation => {
    const { flags, args, environment, stdout } = invocation
    const wanted = wantedRecords(flags, new Date())
    await using store = await openStore(environment.root)
    store.letGo()
    const container = findContainer(await listContainers(store.containers), args[0] ?? '')
    if (container.record?.detached !== true) throw withoutLog(container)
    const streams = { stdout, stderr: process.stderr }
    for await (const record of wantedOf(store, container, { ...invocation, wanted })) {
      await put(streams[record.stream], lineOf(record, flags))
    }
    // The process ends when we return, with what it has not written yet.
    await Promise.all(Object.values(streams).map(flushed))
    return 0
  },
})

/** A log may be larger than memory: waits for a slow reader. */
async function put(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (!stream.write(bytes)) await flushed(stream)
}

function flushed(stream: Writable): Promise<void> {
  return new Promise(resolve => stream.write('', () => resolve()))
}

type LogsFlags = Pick<Invocation<typeof logsFlags>['flags'], keyof typeof logsFlags>

interface Wanted {
  /** Lines from the end. */
  readonly tail: number
  /** Milliseconds of the epoch. */
  readonly since: number
  readonly until: number
}

/** Throws a usage error that names the flag. */
function wantedRecords({ tail, since, until }: LogsFlags, now: Date): Wanted {
  if (tail !== 'all' && !/^-?\d{1,15}$/.test(tail)) {
    throw usageError(
      `Cannot use flag --tail: expected a number or "all", found "${printable(tail)}"`,
    )
  }
  return {
    // Docker's -1: all.
    tail: tail === 'all' || Number(tail) < 0 ? Number.POSITIVE_INFINITY : Number(tail),
    since: since === undefined ? Number.NEGATIVE_INFINITY : parseMoment('--since', since, now),
    until: until === undefined ? Number.POSITIVE_INFINITY : parseMoment('--until', until, now),
  }
}

interface Reading extends Invocation<typeof logsFlags> {
  readonly wanted: Wanted
}

async function* wantedOf(
  store: Store,
  container: Container,
  { wanted, flags, signal }: Reading,
): AsyncGenerator<LogRecord> {
  const path = logFile(container.path)
  let skip = wanted.tail === Number.POSITIVE_INFINITY ? 0 : (await countLines(path)) - wanted.tail
  const follow = { signal, mayGrow: () => isRunning(store, container) }
  // The parts of a line go with its beginning.
  const isShown = { stdout: false, stderr: false }
  for await (const record of readLog(path, flags.follow ? follow : undefined)) {
    const time = Date.parse(record.time)
    if (time > wanted.until) return
    if (record.startsLine) isShown[record.stream] = --skip < 0 && time >= wanted.since
    if (isShown[record.stream]) yield record
  }
}

async function countLines(path: string): Promise<number> {
  let count = 0
  for await (const { startsLine } of readLog(path)) if (startsLine) count++
  return count
}

async function isRunning({ containers }: Store, { id }: Container): Promise<boolean> {
  try {
    return (await containers.get(id)).isRunning
  } catch (error) {
    if (hasCode(error, 'not-found')) return false
    throw error
  }
}

function lineOf({ time, text, startsLine }: LogRecord, flags: LogsFlags): Buffer {
  return flags.timestamps && startsLine ? Buffer.concat([Buffer.from(`${time} `), text]) : text
}

function withoutLog({ id }: Container): OciError {
  return new OciError(
    'unsupported',
    `Cannot show the log of container ${id.slice(0, 12)}: it has none`,
    { hint: 'It was not started with --detach: its output went where that of tsrun went' },
  )
}
