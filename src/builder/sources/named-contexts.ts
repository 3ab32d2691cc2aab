/**
 * NamedContexts: the files of `--build-context`, opened when a step first reads them (F11, F12).
 * Disposing it closes them and removes what was made for them.
 */
import { join } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import { type IgnoreMatcher, parseIgnore } from '../dockerfile/ignore.ts'
import { openContext } from '../steps/open-source.ts'
import { openStatCache } from '../steps/open-stat-cache.ts'
import { nothingEarlier, statCache } from '../steps/stat-cache.ts'
import type { OpenedContext } from '../steps/step-world.ts'
import {
  type ContextDirectory,
  type ContextWorld,
  openContextDirectory,
} from './context-directory.ts'
import type { ContextName, NamedContextName, NamedContextNames } from './context-name.ts'
import { readIgnoreFile } from './ignore-file.ts'
import { once } from './once.ts'

export interface NamedContexts extends AsyncDisposable {
  /** Throws what {@link openContextDirectory} throws. */
  open(name: string): Promise<OpenedContext>
  /** When it was made, in seconds since 1970, if that is known. Throws as {@link open}. */
  time(name: string): Promise<number | undefined>
}

export interface NamedContextWorld extends Omit<ContextWorld, 'stdin' | 'keepGitDir'> {
  readonly contexts: NamedContextNames
  readonly now: () => Date
}

export function namedContexts(world: NamedContextWorld): NamedContexts {
  const opened = new Map<string, Promise<Held>>()
  return {
    open: name => once(opened, name, () => hold(name, world)),
    time: async name => (await once(opened, name, () => hold(name, world))).time?.(),
    [Symbol.asyncDispose]: async () => {
      for (const context of await Promise.allSettled(opened.values())) {
        if (context.status === 'fulfilled') await context.value[Symbol.asyncDispose]()
      }
    },
  }
}

type Held = OpenedContext & Pick<ContextDirectory, 'time'> & AsyncDisposable

async function hold(name: string, world: NamedContextWorld): Promise<Held> {
  const source = filesOf(name, world.contexts.get(name))
  const directory = await openContextDirectory(source, {
    ...world,
    stdin: nothing,
    keepGitDir: false,
  })
  try {
    return await openFiles(name, directory, { source, world })
  } catch (error) {
    await directory[Symbol.asyncDispose]()
    throw error
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function filesOf(name: string, context: NamedContextName | undefined): ContextName {
  if (context !== undefined && context.kind !== 'image' && context.kind !== 'oci-layout') {
    return context
  }
  throw new Error(`Build context ${name} is not of files`)
}

async function openFiles(
  name: string,
  { path, dockerfile, ...directory }: ContextDirectory,
  { source, world }: { readonly source: ContextName; readonly world: NamedContextWorld },
): Promise<Held> {
  if (dockerfile !== undefined) {
    throw new OciError('invalid', `Cannot use build context "${printable(name)}": not an archive`)
  }
  const isLocal = source.kind === 'directory'
  const tree = openContext(path, await ignoreOf(path, source))
  const kept = isLocal ? await openStatCache(world.store.records, path, world.now) : undefined
  return {
    tree: { ...tree, name: `the build context "${printable(name)}"` },
    cache: kept?.cache ?? statCache(nothingEarlier, world.now),
    ...field('time', directory.time),
    [Symbol.asyncDispose]: async () => {
      await kept?.[Symbol.asyncDispose]()
      tree[Symbol.dispose]()
      await directory[Symbol.asyncDispose]()
    },
  }
}

/** A directory's own .dockerignore (F12); what comes from elsewhere is taken whole (X07). */
async function ignoreOf(path: string, { kind }: ContextName): Promise<IgnoreMatcher> {
  if (kind !== 'directory') return parseIgnore('')
  return parseIgnore((await readIgnoreFile(join(path, '.dockerignore'))) ?? '')
}
