/**
 * What the result of a COPY or ADD depends on: the files it reads, as they will look once copied.
 *
 * Reference: K03–K06, K09, C21.
 */
import { constants } from 'node:fs'
import { digestOf, hexOf } from '../../oci/digest.ts'
import { field } from '../../oci/json.ts'
import { applyMode } from '../dockerfile/mode.ts'
import { type Inventories, lookText } from '../explain/inventory.ts'
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
    flags: JSON.stringify({
      add,
      dest,
      chown,
      chmod,
      exclude,
      unpack,
      ...(parents && { parents }),
    }),
    base: chainOf(inputs.parent) ?? 'scratch',
    ...(await sourceParts(step, inputs)),
  }
}

async function sourceParts(step: CopyStep, inputs: CopyInputs): Promise<KeyParts> {
  const { source, world, signal } = inputs
  const { sources, inventories } = world
  if (source === undefined) {
    const { tree, cache } = await openedContext(step.from, world)
    return digestSources(step, tree, { cache, sources, inventories, owners: 'root', signal })
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
  const options = { cache, sources, inventories, owners: 'kept', signal } as const
  const parts = await digestSources(step, tree, options)
  await inventories.keep(Object.values(parts))
  await world.memo.put(memoKey, parts)
  return parts
}

interface DigestContext {
  readonly cache: StatCache
  readonly sources: RemoteSources
  readonly inventories: Inventories
  /** Files of a context belong to root, whoever checked them out (C14). */
  readonly owners: 'root' | 'kept'
  readonly signal: AbortSignal
}

/** What the sources give: parts of the key beside the files, and each file by its path. */
interface Sources {
  readonly parts: Record<string, string>
  readonly digests: Record<string, string>
  readonly looks: Record<string, () => string>
}

/** All files are one part, so that a record stays small; what it stands for is in the inventory. */
async function digestSources(
  step: CopyStep,
  tree: SourceTree,
  context: DigestContext,
): Promise<KeyParts> {
  const found: Sources = { parts: {}, digests: {}, looks: {} }
  for (const source of step.sources) await digestOne(step, source, { tree, found, ...context })
  if (Object.keys(found.digests).length === 0) return found.parts
  const files = cacheKey(found.digests)
  context.inventories.hold(files, () => inventoryOf(found.looks))
  return { ...found.parts, files }
}

/** Most builds find what they look for, and need none. */
function inventoryOf(looks: Sources['looks']): Record<string, string> {
  return Object.fromEntries(Object.entries(looks).map(([path, look]) => [path, look()]))
}

async function digestOne(
  step: CopyStep,
  source: Source,
  {
    tree,
    found,
    ...context
  }: DigestContext & { readonly tree: SourceTree; readonly found: Sources },
): Promise<void> {
  const { parts, digests, looks } = found
  if (source.kind === 'heredoc') {
    const { path, content } = source.file
    digests[path] = JSON.stringify(content)
    looks[path] = () => lookText({ ...heredocLook, content: hexOf(digestOf(content)) })
    return
  }
  if (source.kind === 'url') {
    const { checksum } = step
    const options = { ...field('checksum', checksum), signal: context.signal }
    const name = `URL ${withoutUser(source.url)}`
    parts[name] = await context.sources.identifyUrl(source.url, options)
    return
  }
  if (source.kind === 'git') {
    const git = gitSourceOf(step, source)
    const { remote, subdir = '', keepGitDir = false, submodules = true, mtime, lfs } = git
    const options = JSON.stringify({ subdir, keepGitDir, submodules, mtime, lfs })
    const name = `repository ${withoutUser(remote)} ${options}`
    parts[name] = await context.sources.resolveGit(git, context.signal)
    return
  }
  const appearance = appearanceOf(step, context.owners)
  const { selected } = selectSources(tree, source, step)
  for (const item of selected) {
    const { filter } = item
    const files = await digestSource(tree, item, { ...context, appearance, filter })
    // A directory without files is copied too; its name matters to no result but its being there.
    parts[`source ${pathText(item.name)}`] = isDirectory(item.stat) ? 'directory' : 'file'
    for (const file of files) {
      const path = nameOf(item.name, file)
      digests[path] = file.digest
      looks[path] = file.look
    }
  }
}

const heredocLook = { type: 'f', mode: 0o644, owner: '0:0', attributes: '' }

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
