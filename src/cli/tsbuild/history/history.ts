/** `history`: the builds that the store remembers. */
import type { RecordedBuild } from '../../../builder/history/build-record.ts'
import { findBuild, listBuilds, removeBuild } from '../../../builder/history/builds.ts'
import { openStore } from '../../../layerfs/store.ts'
import { usageError } from '../../cli-error.ts'
import { type Command, defineCommand } from '../../command.ts'
import { humanAge } from '../../human.ts'
import { type ListColumns, listFlags, listOutput } from '../../lists/list-output.ts'
import { formatSeconds } from '../../progress/format.ts'
import { stateText } from './describe-build.ts'

export const historyCommand: Command = defineCommand({
  name: 'history',
  usage: '[ls | rm BUILD… | rm --all]',
  summary: 'List the builds whose steps and output are remembered, or forget some',
  examples: ['history', 'history rm 20261120-172106-4753f', 'history rm --all'],
  flags: {
    all: { kind: 'boolean', help: 'With rm: forget all builds that do not run' },
    quiet: listFlags.quiet,
    format: listFlags.format,
  },
  arity: { min: 0 },
  run: async ({ flags, args: [verb = 'ls', ...ids], environment, stdout }) => {
    await using store = await openStore(environment.root)
    if (verb === 'ls' && ids.length === 0) {
      const now = new Date()
      const rows = (await listBuilds(store)).map(build => rowOf(build, now))
      stdout.write(listOutput(rows, columns, flags))
      return 0
    }
    if (verb !== 'rm')
      throw usageError(`Unknown word "${verb}" after history`, 'There are ls and rm')
    if (flags.all === ids.length > 0) throw usageError('history rm takes builds, or --all')
    const builds = flags.all
      ? (await listBuilds(store)).filter(({ state }) => state !== 'running')
      : await Promise.all(ids.map(id => findBuild(store, id)))
    for (const { id } of builds) {
      await removeBuild(store, id)
      stdout.write(`${id}\n`)
    }
    return 0
  },
})

const columns: ListColumns = {
  BUILD: 'ID',
  NAME: 'Name',
  STATUS: 'Status',
  CACHED: 'Cached',
  STARTED: 'Since',
  DURATION: 'Duration',
}

function rowOf(build: RecordedBuild, now: Date) {
  const { id, context, target, tags, steps, startedAt, endedAt } = build
  // A base that worked without a miss is one that nothing had to be done for.
  const counted = steps.filter(
    ({ source, outcome, miss }) =>
      source !== undefined && (outcome !== 'worked' || miss !== undefined),
  )
  const cached = counted.filter(({ outcome }) => outcome === 'cached')
  return {
    ID: id,
    Name: [tags === '' ? context : tags, ...(target === undefined ? [] : [`(${target})`])].join(
      ' ',
    ),
    Status: stateText(build),
    Cached: `${cached.length}/${counted.length}`,
    Since: humanAge(startedAt, now),
    Duration: endedAt === undefined ? '' : formatSeconds(endedAt),
  }
}
