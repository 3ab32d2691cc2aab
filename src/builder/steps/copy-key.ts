/**
 * What the result of a COPY or ADD depends on: the files it reads, as they will look once copied.
 *
 * Reference: K03–K06, K09, C21.
 */
import { constants } from 'node:fs'
import { field } from '../../oci/json.ts'
import { applyMode } from '../dockerfile/mode.ts'
import type { CopyStep, Source } from '../plan/step.ts'
import { cacheKey } from '../solve/cache-key.ts'
import { chainOf, type KeyParts, type StepResult } from '../solve/graph.ts'
import { type DigestedFile, digestSource } from './content-digest.ts'
import { gitSourceOf } from './copy-items.ts'
import { openedContext, openResult } from './open-source.ts'
import { selectSources } from './select-sources.ts'
import { isDirectory, joinPath, pathText, type SourceTree } from './source-tree.ts'
import { type StatCache, statCache } from './stat-cache.ts'
import type { RemoteSources, StepWorld } from './step-world.ts'

export interface CopyInputs {
  readonly parent: StepResult
  /** What it reads from; absent: the build context or a named one. */
  readonly source: StepResult | undefined
  readonly world: StepWorld
  readonly signal: AbortSignal
}

export async function copyKey(step: CopyStep, inputs: CopyInputs): Promise<KeyParts> {
  const { add, dest, chown, chmod, exclude, unpack, parents } = step
  return {
    step: JSON.stringify({ add, dest, chown, chmod, exclude, unpack, ...(parents && { parents }) }),
    base: chainOf(inputs.parent) ?? 'scratch',
    ...(await sourceParts(step, inputs)),
  }
}

async function sourceParts(step: CopyStep, inputs: CopyInputs): Promise<KeyParts> {
  const { source, world, signal } = inputs
  if (source === undefined) {
    const { tree, cache } = await openedContext(step.from, world)
    return digestSources(step, tree, { cache, sources: world.sources, owners: 'root', signal })
  }
  // The same question about the same immutable filesystem has the same answer for ever.
  const memoKey = cacheKey({
    from: chainOf(source) ?? 'scratch',
    step: JSON.stringify([step.sources, step.chown, step.chmod, step.exclude, step.parents]),
  })
  const known = await world.memo.find(memoKey)
  if (known !== undefined) return known
  using tree = await openResult(source, world, signal)
  const cache = statCache({}, world.now)
  const { sources } = world
  const parts = await digestSources(step, tree, { cache, sources, owners: 'kept', signal })
  await world.memo.put(memoKey, parts)
  return parts
}

/** Above this many files a key names sources, not files: a record must stay small. */
const maxNamedFiles = 1000

interface DigestContext {
  readonly cache: StatCache
  readonly sources: RemoteSources
  /** Files of a context belong to root, whoever checked them out (C14). */
  readonly owners: 'root' | 'kept'
  readonly signal: AbortSignal
}

async function digestSources(
  step: CopyStep,
  tree: SourceTree,
  context: DigestContext,
): Promise<KeyParts> {
  const parts: Record<string, string> = {}
  for (const source of step.sources) {
    Object.assign(parts, await digestOne(step, source, { tree, ...context }))
  }
  const names = Object.keys(parts)
  if (names.length <= maxNamedFiles) return parts
  return { [`the ${names.length} files`]: cacheKey(parts) }
}

async function digestOne(
  step: CopyStep,
  source: Source,
  { tree, ...context }: DigestContext & { readonly tree: SourceTree },
): Promise<Record<string, string>> {
  if (source.kind === 'heredoc') {
    return { [`file ${source.file.path}`]: JSON.stringify(source.file.content) }
  }
  if (source.kind === 'url') {
    const { checksum } = step
    const options = { ...field('checksum', checksum), signal: context.signal }
    return {
      [`URL ${withoutUser(source.url)}`]: await context.sources.identifyUrl(source.url, options),
    }
  }
  if (source.kind === 'git') {
    const git = gitSourceOf(step, source)
    const { remote, subdir = '', keepGitDir = false, submodules = true, mtime } = git
    const commit = await context.sources.resolveGit(git, context.signal)
    const options = JSON.stringify({ subdir, keepGitDir, submodules, mtime })
    return { [`repository ${withoutUser(remote)} ${options}`]: commit }
  }
  const appearance = appearanceOf(step, context.owners)
  const parts: Record<string, string> = {}
  const { selected } = selectSources(tree, source, step)
  for (const item of selected) {
    const { filter } = item
    const files = await digestSource(tree, item, { ...context, appearance, filter })
    // A directory without files is copied too; its name matters to no result but its being there.
    parts[`source ${pathText(item.name)}`] = isDirectory(item.stat) ? 'directory' : 'file'
    for (const file of files) parts[`file ${nameOf(item.name, file)}`] = file.digest
  }
  return parts
}

/** Names of parts are told to the user. */
function withoutUser(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//')
}

function nameOf(source: Buffer, { relative }: DigestedFile): string {
  return pathText(relative.length === 0 ? source : joinPath(source, relative))
}

/** Modes after --chmod, so that a checkout's umask does not matter where --chmod decides (K09). */
function appearanceOf({ chmod, chown }: CopyStep, owners: DigestContext['owners']) {
  return (stat: { mode: number; uid: number; gid: number }) => {
    const isLink = (stat.mode & constants.S_IFMT) === constants.S_IFLNK
    const isDir = (stat.mode & constants.S_IFMT) === constants.S_IFDIR
    const mode = chmod === undefined || isLink ? stat.mode : applyMode(chmod, stat.mode, isDir)
    const own = owners === 'root' ? '0:0' : `${stat.uid}:${stat.gid}`
    return { mode: mode & 0o7777, owner: chown ?? own }
  }
}
