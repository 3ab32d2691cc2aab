import { setTimeout as pause } from 'node:timers/promises'
import {
  type Container,
  findContainer,
  listContainers,
} from '../../layerfs/runtime/container-list.ts'
import { containerUsage, type Usage } from '../../layerfs/runtime/container-usage.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { hasCode } from '../../oci/errors.ts'
import { type Command, defineCommand } from '../command.ts'
import { humanSize } from '../human.ts'
import { type ListColumns, type ListRow, listFlags, listOutput } from '../lists/list-output.ts'

const intervalMs = 1000

export const statsCommand: Command = defineCommand({
  name: 'stats',
  usage: '[FLAGS] [CONTAINER...]',
  summary: 'Show what containers use of the machine',
  examples: ['stats', 'stats --no-stream web', "stats --format '{{.Name}} {{.CPUPerc}}'"],
  flags: {
    'no-stream': { kind: 'boolean', help: 'Once, measured over a second, instead of every second' },
    'no-trunc': listFlags['no-trunc'],
    format: listFlags.format,
  },
  unsupported: { all: { short: 'a', reason: 'Those that have ended use nothing' } },
  run: async ({ flags, args, environment, stdout, signal }) => {
    await using store = await openStore(environment.root)
    store.letGo()
    let before = await measure(store, args)
    while (!signal.aborted) {
      await pause(intervalMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) break
      const now = await measure(store, args)
      const rows = [...now].map(([id, { container, usage }]) =>
        rowOf(container, usage, {
          isFull: flags['no-trunc'],
          share: share(before.get(id), { usage, at: now.get(id)?.at ?? 0 }),
        }),
      )
      // From the upper left corner, over what was there.
      if (!flags['no-stream'] && stdout.isTTY === true) stdout.write('\u001b[H\u001b[J')
      stdout.write(listOutput(rows, columns, flags))
      if (flags['no-stream']) return 0
      before = now
    }
    return 0
  },
})

interface Measured {
  readonly container: Container
  readonly usage: Usage
  /** Milliseconds. */
  readonly at: number
}

/** Those named, each of which must run, or all that run. */
async function measure(store: Store, names: readonly string[]): Promise<Map<string, Measured>> {
  const all = await listContainers(store.containers)
  const wanted =
    names.length === 0
      ? all.filter(({ isRunning }) => isRunning)
      : names.map(name => findContainer(all, name))
  const found = wanted.flatMap(container => {
    try {
      const usage = containerUsage(container)
      return [[container.id, { container, usage, at: performance.now() }] as const]
    } catch (error) {
      // It has ended since the list was made.
      if (names.length === 0 && hasCode(error, 'conflict')) return []
      throw error
    }
  })
  return new Map(found)
}

/** Of one processor, since the last time. */
function share(before: Measured | undefined, now: Omit<Measured, 'container'>): number {
  if (before === undefined || now.at <= before.at) return 0
  const used = now.usage.cpuMicroseconds - before.usage.cpuMicroseconds
  return Math.max(0, used) / (now.at - before.at) / 1000
}

const columns: ListColumns = {
  'CONTAINER ID': 'ID',
  NAME: 'Name',
  'CPU %': 'CPUPerc',
  'MEM USAGE / LIMIT': 'MemUsage',
  'MEM %': 'MemPerc',
  'NET I/O': 'NetIO',
  'BLOCK I/O': 'BlockIO',
  PIDS: 'PIDs',
}

function rowOf(
  { id, record }: Container,
  usage: Usage,
  { isFull, share: part }: { readonly isFull: boolean; readonly share: number },
): ListRow {
  const { memory, memoryLimit, network, disks, processes } = usage
  const name = isFull ? id : id.slice(0, 12)
  return {
    ID: name,
    Container: name,
    Name: record?.name ?? '',
    CPUPerc: percent(part),
    MemUsage: `${binarySize(memory)} / ${binarySize(memoryLimit)}`,
    MemPerc: percent(memory / memoryLimit),
    NetIO: `${humanSize(network.received)} / ${humanSize(network.sent)}`,
    BlockIO: `${humanSize(disks.read)} / ${humanSize(disks.written)}`,
    PIDs: String(processes),
  }
}

const percent = (part: number) => `${(part * 100).toFixed(2)}%`

/** As docker shows memory, and only memory: `1.5MiB`. */
function binarySize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = bytes < 1 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10))
  return `${Number((bytes / 1024 ** power).toPrecision(4))}${units[power]}`
}
