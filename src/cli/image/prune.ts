import { statfs } from 'node:fs/promises'
import { openStore, type Store } from '../../layerfs/store.ts'
import { usageError } from '../cli-error.ts'
import { type CliContext, type Command, defineCommand } from '../command.ts'
import { parseAs, parseDuration } from '../flag-values.ts'
import { humanSize } from '../human.ts'
import { ask } from '../prompt.ts'
import { removeUnused } from './remove-unused.ts'

export const pruneCommand: Command = defineCommand({
  name: 'prune',
  usage: '[FLAGS]',
  summary: 'Free the space of what nothing uses any more',
  examples: ['prune', 'prune --filter until=168h', 'prune --all --force'],
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'Also the whole build cache' },
    filter: {
      kind: 'strings',
      value: 'until=TIME',
      help: 'Also the build cache that is older: until=168h',
    },
    force: { kind: 'boolean', short: 'f', help: 'Do not ask' },
  },
  unsupported: {
    'keep-storage': {},
    'reserved-space': {},
    'max-used-space': {},
    'min-free-space': {},
    verbose: {},
    volumes: { reason: 'There are no volumes' },
  },
  arity: { min: 0, max: 0 },
  run: async ({ flags, ...context }) => {
    const before = oldestKept(flags, new Date())
    if (!flags.force && !(await isConfirmed(flags.all, context))) return 0
    await using store = await openStore(context.environment.root)
    const freeBefore = await freeBytes(store)
    const removed = await prune(store, before)
    await store.trash.empty()
    const freed = Math.max(0, (await freeBytes(store)) - freeBefore)
    context.stdout.write(`${removed}\nTotal reclaimed space: ${humanSize(freed)}\n`)
    return 0
  },
})

/** Steps of the build cache before this go; nothing is before 1970. */
function oldestKept(
  { all, filter }: { readonly all: boolean; readonly filter: readonly string[] },
  now: Date,
): Date {
  const ages = filter.map(text => {
    const [name, value = ''] = text.split('=')
    if (name !== 'until')
      throw usageError(`Filter "${name}" is not supported yet`, 'There is until=TIME')
    return parseAs(`filter "${text}"`, () => parseDuration(value))
  })
  if (all && ages.length === 0) return new Date(now.getTime() + 1000)
  return new Date(ages.length === 0 ? 0 : now.getTime() - Math.min(...ages))
}

async function isConfirmed(all: boolean, context: CliContext): Promise<boolean> {
  if (context.stdin.isTTY !== true) return true
  const cache = all ? ' and the whole build cache' : ''
  const question = `Remove all images without a name${cache}, and what they alone use? [y/N] `
  return /^y(es)?$/i.test((await ask(question, 'shown', context)).trim())
}

/** What was removed, in one line. Containers, also ended ones, keep what they were made from. */
async function prune(store: Store, before: Date): Promise<string> {
  const unnamed = (await store.images.list()).filter(({ reference }) => reference === undefined)
  for (const record of unnamed) await store.images.remove(record)
  const { removedSteps, snapshots, blobs } = await removeUnused(store, before)
  const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`
  const parts = [
    count(unnamed.length, 'image'),
    count(removedSteps, 'cached step'),
    count(snapshots.length, 'unpacked layer'),
    count(blobs.length, 'blob'),
  ]
  return `Removed ${parts.join(', ')}`
}

async function freeBytes({ root }: Store): Promise<number> {
  const { bavail, bsize } = await statfs(root)
  return bavail * bsize
}
