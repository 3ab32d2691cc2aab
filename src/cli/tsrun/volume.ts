/** `tsrun volume`: what containers keep in directories that outlive them. */
import { randomBytes } from 'node:crypto'
import {
  assertVolumeName,
  ensureVolume,
  findVolume,
  listVolumes,
  pruneVolumes,
  removeVolume,
  type Volume,
  volumeUsers,
  withVolumes,
} from '../../layerfs/runtime/volumes.ts'
import { openStore } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'
import { documentsFlag, documentsOutput } from '../lists/documents-output.ts'
import { type FilterTable, filterOf, labelFilters, truthFrom } from '../lists/filters.ts'
import { type ListColumns, type ListRow, listFlags, listOutput } from '../lists/list-output.ts'
import { isConfirmed } from '../prompt.ts'
import { tryEach } from '../try-each.ts'
import { formatLabels, labelsOf } from './options/label-options.ts'

export const volumeCreateCommand: Command = defineCommand({
  name: 'volume create',
  usage: '[FLAGS] [NAME]',
  summary: 'Make a volume, and print its name; one that is there stays as it is',
  examples: ['volume create data', 'volume create --label app=web'],
  flags: {
    label: { kind: 'strings', value: 'KEY=VALUE', help: 'Label of the volume' },
  },
  unsupported: {
    driver: { short: 'd', reason: 'Volumes are directories of this machine' },
    opt: { short: 'o', reason: 'Volumes are directories of this machine' },
    ...{ availability: {}, group: {}, 'limit-bytes': {}, 'required-bytes': {}, scope: {} },
    ...{ secret: {}, sharing: {}, 'topology-preferred': {}, 'topology-required': {}, type: {} },
  },
  arity: { min: 0, max: 1 },
  run: async ({ flags, args: [name], environment, stdout }) => {
    if (name !== undefined) assertVolumeName(name)
    const labels = await labelsOf(flags.label)
    await using store = await openStore(environment.root)
    const volume = await withVolumes(store, () =>
      ensureVolume(store, {
        name: name ?? randomBytes(32).toString('hex'),
        labels,
        isAnonymous: name === undefined,
      }),
    )
    stdout.write(`${volume.name}\n`)
    return 0
  },
})

/** With the containers that use it. */
type Listed = Volume & { readonly users: readonly string[] }

const labels = labelFilters<Pick<Volume, 'labels'>>(volume => volume.labels)

const filters = {
  dangling: value => {
    const isWanted = truthFrom('dangling', value)
    return ({ users }) => (users.length === 0) === isWanted
  },
  ...labels,
  name:
    value =>
    ({ name }) =>
      name.includes(value),
  driver: value => () => value === driver,
} satisfies FilterTable<Listed>

/** What docker calls volumes that are plain directories. */
const driver = 'local'

const filterFlag = {
  kind: 'strings',
  short: 'f',
  value: 'KEY=VALUE',
  help: 'Only those that fit: dangling, driver, label, label!, name',
} as const

const columns: ListColumns = {
  DRIVER: 'Driver',
  'VOLUME NAME': 'Name',
}

export const volumeListCommand: Command = defineCommand({
  name: 'volume ls',
  usage: '[FLAGS]',
  summary: 'List volumes',
  examples: ['volume ls', 'volume ls -qf dangling=true'],
  flags: { filter: filterFlag, quiet: listFlags.quiet, format: listFlags.format },
  unsupported: { cluster: {} },
  arity: { min: 0, max: 0 },
  run: async ({ flags, environment, stdout }) => {
    const fits = filterOf(flags.filter, filters)
    await using store = await openStore(environment.root)
    const users = await volumeUsers(store)
    const rows = (await listVolumes(store))
      .filter(volume => fits({ ...volume, users: users.get(volume.name) ?? [] }))
      .map(rowOf)
    stdout.write(listOutput(rows, columns, flags))
    return 0
  },
})

function rowOf({ name, path, labels }: Volume): ListRow {
  return {
    ...{ ID: name, Name: name, Driver: driver, Scope: driver },
    ...{ Mountpoint: path, Labels: formatLabels(labels) },
  }
}

export const volumeInspectCommand: Command = defineCommand({
  name: 'volume inspect',
  usage: '[FLAGS] NAME...',
  summary: 'Print what is known about volumes',
  examples: ['volume inspect data', "volume inspect -f '{{.Mountpoint}}' data"],
  flags: { format: documentsFlag('{{.Name}}') },
  arity: { min: 1 },
  run: async ({ flags, args, environment, stdout }) => {
    const output = documentsOutput(flags.format)
    await using store = await openStore(environment.root)
    const found = await Promise.all(args.map(name => findVolume(store, name)))
    stdout.write(output(found.map(factsOf)))
    return 0
  },
})

/** By docker's names. */
function factsOf({ name, path, createdAt, labels }: Volume): Record<string, unknown> {
  return {
    ...{ CreatedAt: createdAt, Driver: driver, Labels: labels, Mountpoint: path },
    ...{ Name: name, Options: {}, Scope: driver },
  }
}

export const volumeRemoveCommand: Command = defineCommand({
  name: 'volume rm',
  usage: '[FLAGS] NAME...',
  summary: 'Remove volumes that no container uses',
  examples: ['volume rm data', 'volume rm $({program} volume ls -qf dangling=true)'],
  flags: { force: { kind: 'boolean', short: 'f', help: 'Ignore those that do not exist' } },
  arity: { min: 1 },
  run: async ({ flags, args, ...context }) => {
    await using store = await openStore(context.environment.root)
    return await tryEach(args, { context, ignoresMissing: flags.force }, async name => {
      await removeVolume(store, name)
      return `${name}\n`
    })
  },
})

export const volumePruneCommand: Command = defineCommand({
  name: 'volume prune',
  usage: '[FLAGS]',
  summary: 'Remove volumes without a name that no container uses',
  examples: ['volume prune', 'volume prune -af'],
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'Also those that have a name' },
    force: { kind: 'boolean', short: 'f', help: 'Do not ask' },
    filter: { kind: 'strings', value: 'KEY=VALUE', help: 'Only those that fit: label, label!' },
  },
  arity: { min: 0, max: 0 },
  run: async ({ flags, ...context }) => {
    const fits = filterOf(flags.filter, labels)
    const what = flags.all ? 'all volumes' : 'all volumes without a name'
    if (!flags.force && !(await isConfirmed(`Remove ${what} that no container uses?`, context)))
      return 0
    await using store = await openStore(context.environment.root)
    const isWanted = (volume: Volume) => (flags.all || volume.isAnonymous) && fits(volume)
    for (const name of await pruneVolumes(store, isWanted)) context.stdout.write(`${name}\n`)
    return 0
  },
})
