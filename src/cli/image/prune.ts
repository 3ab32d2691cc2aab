import { statfs } from 'node:fs/promises'
import { cachedLayers, cutoffFor, mostBytes } from '../../builder/cache-use.ts'
import { discardDownloads, type Pruned } from '../../layerfs/image/prune.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { parseAs, parseDuration } from '../flags/flag-values.ts'
import type { FlagTable, FlagValues } from '../flags/flags.ts'
import { humanSize } from '../human.ts'
import { isConfirmed } from '../prompt.ts'
import { removeUnused } from './remove-unused.ts'
import { whenFree } from './when-free.ts'

const flags = {
  all: { kind: 'boolean', short: 'a', help: 'Also the whole build cache' },
  filter: {
    kind: 'strings',
    value: 'until=TIME',
    help: 'Also the build cache that nothing used for so long: until=168h (also unused-for=)',
  },
  'max-used-space': {
    kind: 'size',
    value: 'SIZE',
    aliases: ['keep-storage'],
    help: 'Also of the build cache what was not used for longest, until the rest takes no more',
  },
  'min-free-space': {
    kind: 'size',
    value: 'SIZE',
    help: 'The same, until that much of the disk is free',
  },
  'reserved-space': {
    kind: 'size',
    value: 'SIZE',
    help: 'Leave the build cache at least that much, whatever the other flags say',
  },
  timeout: {
    kind: 'duration',
    value: 'TIME',
    help: 'Wait so long for another clean-up to end (default 1m)',
  },
  force: { kind: 'boolean', short: 'f', help: 'Do not ask' },
  verbose: { kind: 'boolean', help: 'List what is removed' },
} as const satisfies FlagTable

export const pruneCommand: Command = defineCommand({
  name: 'prune',
  usage: '[FLAGS]',
  summary: 'Free the space of what nothing uses any more',
  examples: [
    'prune',
    'prune --filter until=168h',
    'prune --max-used-space 10g',
    'prune --min-free-space 20g --reserved-space 5g',
    'prune --all --force',
  ],
  flags,
  unsupported: {
    volumes: { reason: 'Use "tsrun volume prune"' },
  },
  arity: { min: 0, max: 0 },
  run: async ({ flags, ...context }) => {
    const oldest = oldestKept(flags, new Date())
    const cache = flags.all ? ' and the whole build cache' : ''
    const question = `Remove all images without a name${cache}, and what they alone use?`
    if (!flags.force && !(await isConfirmed(question, context))) return 0
    await using store = await openStore(context.environment.root)
    const before = await cutoff(store, oldest, flags)
    const removed = await prune(store, before, task => whenFree(task, context, flags.timeout))
    if (flags.verbose) context.stdout.write(removed.list)
    context.stdout.write(`${removed.summary}\n`)
    // Last: who creates files right after many were deleted waits for it (trash.ts).
    const freed = await store.trash.empty({ signal: context.signal })
    context.signal.throwIfAborted()
    context.stdout.write(`Total reclaimed space: ${humanSize(freed)}\n`)
    return 0
  },
})

/** Steps of the build cache before this go; `undefined`: nobody said when. */
function oldestKept(
  { all, filter }: Pick<FlagValues<typeof flags>, 'all' | 'filter'>,
  now: Date,
): Date | undefined {
  if (filter.length > 0) return new Date(now.getTime() - Math.min(...filter.map(ageIn)))
  return all ? new Date(now.getTime() + 1000) : undefined
}

/** `until=24h` in milliseconds. Throws a usage error. */
export function ageIn(text: string): number {
  const [name, value = ''] = text.split('=')
  if (name !== 'until' && name !== 'unused-for') {
    throw usageError(`Filter "${name}" is not supported yet`, 'There is until=TIME')
  }
  return parseAs(`filter "${text}"`, () => parseDuration(value))
}

type SpaceFlags = Pick<
  FlagValues<typeof flags>,
  'max-used-space' | 'min-free-space' | 'reserved-space'
>

/** By size, no younger than by age; nothing is before 1970. */
async function cutoff(store: Store, oldest: Date | undefined, space: SpaceFlags): Promise<Date> {
  const wanted = Object.values(wishesOf(space)).some(value => value !== undefined)
  if (!wanted) return oldest ?? new Date(0)
  const layers = await cachedLayers(store)
  const { bavail, bsize } = await statfs(store.root)
  const most = mostBytes(layers, { ...wishesOf(space), freeBytes: bavail * bsize })
  const bySize = cutoffFor(layers, most)
  return oldest === undefined || bySize < oldest ? bySize : oldest
}

function wishesOf(space: SpaceFlags) {
  return {
    maxUsed: space['max-used-space'],
    minFree: space['min-free-space'],
    reserved: space['reserved-space'],
  }
}

interface Removed {
  readonly summary: string
  /** A line for each. */
  readonly list: string
}

type Waiting = <T>(task: () => Promise<T>) => Promise<T>

/** Containers, also ended ones, and mounted images keep what they were made from. */
async function prune(store: Store, before: Date, whenAlone: Waiting): Promise<Removed> {
  await discardDownloads(store)
  const unnamed = (await store.images.list()).filter(({ reference }) => reference === undefined)
  for (const record of unnamed) await store.images.remove(record)
  const { removedSteps, ...pruned } = await whenAlone(() => removeUnused(store, before))
  const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`
  const parts = [
    count(unnamed.length, 'image'),
    count(removedSteps, 'cached step'),
    count(pruned.snapshots.length, 'unpacked layer'),
    count(pruned.blobs.length, 'blob'),
  ]
  const images = unnamed.map(({ target }) => `image ${target.digest}\n`)
  return { summary: `Removed ${parts.join(', ')}`, list: [...images, ...listOf(pruned)].join('') }
}

function listOf({ snapshots, blobs }: Pruned): string[] {
  return [
    ...snapshots.map(({ name }) => `layer ${name}\n`),
    ...blobs.map(({ digest, size }) => `blob  ${digest}  ${humanSize(size)}\n`),
  ]
}
