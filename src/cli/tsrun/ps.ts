import { type Container, listContainers } from '../../layerfs/runtime/container-list.ts'
import { isPaused } from '../../layerfs/runtime/container-processes.ts'
import { openStore } from '../../layerfs/store.ts'
import { printable } from '../../oci/errors.ts'
import { type Command, defineCommand } from '../command.ts'
import { humanAge, humanDuration } from '../human.ts'
import { type ListColumn, type ListRow, listFlags, listOutput } from '../list-output.ts'
import { truncate } from '../progress/display-width.ts'
import { formatPort } from './publish-options.ts'

export const psCommand: Command = defineCommand({
  name: 'ps',
  usage: '[FLAGS]',
  summary: 'List containers',
  examples: ['ps', 'ps -a', "ps -a --format '{{.ID}} {{.Status}}'"],
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'Also those that have ended' },
    ...listFlags,
  },
  unsupported: {
    filter: { short: 'f' },
    last: { short: 'n' },
    latest: { short: 'l' },
    size: { short: 's' },
  },
  arity: { min: 0, max: 0 },
  run: async ({ flags, environment, stdout }) => {
    await using store = await openStore(environment.root)
    const containers = await listContainers(store.containers)
    const now = new Date()
    const rows = containers
      .filter(({ isRunning }) => flags.all || isRunning)
      .map(container => rowOf(container, { now, isFull: flags['no-trunc'] }))
    stdout.write(listOutput(rows, columns, flags))
    return 0
  },
})

const columns: readonly ListColumn[] = [
  { head: 'CONTAINER ID', field: 'ID' },
  { head: 'IMAGE', field: 'Image' },
  { head: 'COMMAND', field: 'Command' },
  { head: 'CREATED', field: 'RunningFor' },
  { head: 'STATUS', field: 'Status' },
  { head: 'PORTS', field: 'Ports' },
  { head: 'NAMES', field: 'Names' },
]

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
    State: !isRunning ? 'exited' : isPaused(container) ? 'paused' : 'running',
    Status: statusOf(container, now),
    Ports: isRunning ? (record?.ports ?? []).map(formatPort).join(', ') : '',
    Names: record?.name ?? '',
  }
}

function statusOf(container: Container, now: Date): string {
  const { isRunning, record } = container
  if (record === undefined) return 'Damaged'
  if (isRunning) {
    const started = Date.parse(record.startedAt ?? record.createdAt)
    return `Up ${humanDuration(now.getTime() - started)}${isPaused(container) ? ' (Paused)' : ''}`
  }
  if (record.end === undefined) return 'Exited (killed)'
  return `Exited (${record.end.code}) ${humanAge(record.end.at, now)}`
}
