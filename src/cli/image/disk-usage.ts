/** `df`, where the bytes of the store are, and `du`, what the build cache holds. */
import { type CachedLayer, cachedLayers } from '../../builder/cache-use.ts'
import { type KindUse, measureStore, type StoreUse } from '../../layerfs/image/store-use.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'
import { humanAge, humanSize } from '../human.ts'
import { type ListColumns, listFlags, listOutput } from '../lists/list-output.ts'
import { ageIn } from './prune.ts'

export const dfCommand: Command = defineCommand({
  name: 'df',
  usage: '[FLAGS]',
  summary: 'Show what takes the space on the disk',
  examples: ['df', 'df --format json'],
  flags: { format: listFlags.format },
  unsupported: { verbose: { short: 'v', reason: 'du lists the build cache, images the images' } },
  arity: { min: 0, max: 0 },
  run: async ({ flags, environment, stdout }) => {
    await using store = await openStore(environment.root)
    const layers = await cachedLayers(store)
    const use = await measureStore(
      store,
      layers.map(({ name }) => name),
    )
    const rows = rowsOf(use, await countsOf(store, layers))
    stdout.write(listOutput(rows, useColumns, flags))
    return 0
  },
})

const useColumns: ListColumns = {
  TYPE: 'ID',
  TOTAL: 'TotalCount',
  SIZE: 'Size',
  RECLAIMABLE: 'Reclaimable',
}

interface Counts {
  readonly images: number
  readonly containers: number
  readonly cache: number
}

async function countsOf(store: Store, layers: readonly CachedLayer[]): Promise<Counts> {
  const containers = await store.containers.list()
  const mounts = await store.mounts.list()
  return {
    images: (await store.images.list()).length,
    containers: containers.length + mounts.length,
    cache: layers.length,
  }
}

/** What `prune --all` frees. */
function rowsOf({ kinds }: StoreUse, counts: Counts) {
  const row = (title: string, use: KindUse, more: { count?: number; isFreed?: boolean } = {}) => ({
    ID: title,
    TotalCount: more.count === undefined ? '' : String(more.count),
    Size: humanSize(use.bytes),
    Reclaimable: humanSize(more.isFreed === true ? use.bytes : 0),
  })
  const other = [kinds.working, kinds.bookkeeping, kinds.stray]
  return [
    row('Images', kinds.images, { count: counts.images }),
    row('Containers and mounts', kinds.containers, { count: counts.containers }),
    row('Build cache', kinds.cache, { count: counts.cache, isFreed: true }),
    row('Unused', kinds.unused, { isFreed: true }),
    row('Unfinished downloads', kinds.downloads, { isFreed: true }),
    row('Trash', kinds.trash, { isFreed: true }),
    row('Other', {
      files: 0,
      bytes: other.reduce((sum, { bytes }) => sum + bytes, 0),
    }),
  ]
}

export const duCommand: Command = defineCommand({
  name: 'du',
  usage: '[FLAGS]',
  summary: 'Show what the build cache takes on the disk',
  examples: ['du', 'du --filter until=24h', 'du --verbose'],
  flags: {
    filter: { kind: 'strings', value: 'until=TIME', help: 'Only what is older: until=24h' },
    verbose: { kind: 'boolean', help: 'Whole ids, sizes in bytes' },
    format: listFlags.format,
  },
  arity: { min: 0, max: 0 },
  run: async ({ flags, environment, stdout }) => {
    const minAge = Math.max(0, ...flags.filter.map(ageIn))
    const now = new Date()
    await using store = await openStore(environment.root)
    const layers = (await cachedLayers(store)).filter(
      ({ usedAt }) => now.getTime() - usedAt.getTime() >= minAge,
    )
    const rows = layers.map(layer => cacheRow(layer, { now, isVerbose: flags.verbose }))
    stdout.write(listOutput(rows, cacheColumns, flags))
    if (flags.format === 'table') stdout.write(totalsOf(layers))
    return 0
  },
})

const cacheColumns: ListColumns = {
  ID: 'ID',
  TYPE: 'Type',
  RECLAIMABLE: 'Reclaimable',
  SIZE: 'Size',
  'LAST USED': 'Since',
}

function cacheRow(
  { name, kind, isShared, bytes, usedAt }: CachedLayer,
  { now, isVerbose }: { readonly now: Date; readonly isVerbose: boolean },
) {
  const hex = name.slice(name.indexOf(':') + 1)
  return {
    ID: isVerbose ? hex : hex.slice(0, 12),
    Type: kind,
    Reclaimable: String(!isShared),
    Size: isVerbose ? String(bytes) : humanSize(bytes),
    Since: isVerbose ? usedAt.toISOString() : humanAge(usedAt.toISOString(), now),
  }
}

function totalsOf(layers: readonly CachedLayer[]): string {
  const sum = (part: readonly CachedLayer[]) =>
    humanSize(part.reduce((bytes, layer) => bytes + layer.bytes, 0))
  const reclaimable = layers.filter(({ isShared }) => !isShared)
  return `Reclaimable: ${sum(reclaimable)}\nTotal: ${sum(layers)}\n`
}
