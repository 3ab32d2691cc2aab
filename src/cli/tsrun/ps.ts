import { healthOf } from '../../layerfs/runtime/container-health.ts'
import { type Container, listContainers } from '../../layerfs/runtime/container-list.ts'
import { isPaused } from '../../layerfs/runtime/container-processes.ts'
import { statusOf as currentStatus } from '../../layerfs/runtime/container-status.ts'
import { openStore } from '../../layerfs/store.ts'
import { printable } from '../../oci/errors.ts'
import { type Command, defineCommand } from '../command.ts'
import { humanAge, humanDuration } from '../human.ts'
import { filterOf } from '../lists/filters.ts'
import { type ListColumns, type ListRow, listFlags, listOutput } from '../lists/list-output.ts'
import { truncate } from '../progress/display-width.ts'
import { containerFilters } from './container-filters.ts'
import { formatLabels } from './options/label-options.ts'
import { formatPort } from './options/publish-options.ts'

export const psCommand: Command = defineCommand({
  name: 'ps',
  usage: '[FLAGS]',
  summary: 'List containers',
  examples: ['ps', 'ps -a', "ps -a --format '{{.ID}} {{.Status}}'"],
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'Also those that do not run' },
    filter: {
      kind: 'strings',
      short: 'f',
      value: 'KEY=VALUE',
      help: `Only those that fit: ${Object.keys(containerFilters([])).join(', ')}`,
    },
    last: { kind: 'integer', short: 'n', value: 'N', help: 'The newest, whether they run or not' },
    latest: { kind: 'boolean', short: 'l', help: 'The newest one, whether it runs or not' },
    ...listFlags,
  },
  unsupported: {
    size: { short: 's' },
  },
  arity: { min: 0, max: 0 },
  run: async ({ flags, environment, stdout }) => {
    await using store = await openStore(environment.root)
    const containers = await listContainers(store.containers)
    const now = new Date()
    const most = flags.latest ? 1 : (flags.last ?? 0)
    const fits = filterOf(flags.filter, containerFilters(containers))
    const isAsked = flags.all || most > 0 || flags.filter.some(word => endedToo.test(word))
    const rows = containers
      .filter(container => (isAsked || container.isRunning) && fits(container))
      .slice(0, most > 0 ? most : undefined)
      .map(container => rowOf(container, { now, isFull: flags['no-trunc'] }))
    stdout.write(listOutput(rows, columns, flags))
    return 0
  },
})

/** Of these filters docker looks among those that do not run, too. */
const endedToo = /^(status|exited)=/

const columns: ListColumns = {
  'CONTAINER ID': 'ID',
  IMAGE: 'Image',
  COMMAND: 'Command',
  CREATED: 'RunningFor',
  STATUS: 'Status',
  PORTS: 'Ports',
  NAMES: 'Names',
}

function rowOf(
  container: Container,
  { now, isFull }: { readonly now: Date; readonly isFull: boolean },
): ListRow {
  const { id, isRunning, record } = container
  const command = printable(record?.argv.join(' ') ?? '', 1000)
  return {
    ID: isFull ? id : id.slice(0, 12),
    Image: record?.image ?? '',
    Command: `"${isFull ? command : truncate(command, 20)}"`,
    CreatedAt: record?.createdAt ?? '',
    RunningFor: humanAge(record?.createdAt, now),
    State: currentStatus(container),
    Status: statusOf(container, now),
    Ports: isRunning ? (record?.ports ?? []).map(formatPort).join(', ') : '',
    Names: record?.name ?? '',
    Labels: formatLabels(record?.labels),
    Mounts: (record?.volumes ?? []).map(({ name }) => name).join(','),
  }
}

function statusOf(container: Container, now: Date): string {
  const { isRunning, record } = container
  if (record === undefined) return 'Damaged'
  if (isRunning) {
    const started = Date.parse(record.startedAt ?? record.createdAt)
    return `Up ${humanDuration(now.getTime() - started)}${addition(container)}`
  }
  if (record.startedAt === undefined) return 'Created'
  if (record.end === undefined) return 'Exited (killed)'
  return `Exited (${record.end.code}) ${humanAge(record.end.at, now)}`
}

function addition(container: Container): string {
  if (isPaused(container)) return ' (Paused)'
  const health = healthOf(container)
  if (health === undefined) return ''
  return health.status === 'starting' ? ' (health: starting)' : ` (${health.status})`
}
