/**
 * What the result of a COPY or ADD depends on: the files it reads, as they will look once copied.
 *
 * Reference: K03–K06, K09, C21.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { digestOf, hexOf } from '../../oci/digest.ts'
import { field } from '../../oci/json.ts'
import { applyMode } from '../dockerfile/mode.ts'
import { fileLine } from '../explain/file-line.ts'
import type { Inventories } from '../explain/inventory.ts'
import type { CopyStep, Source } from '../plan/step.ts'
import { cacheKey } from '../solve/cache-key.ts'
import { chainOf, type KeyParts, type StepResult } from '../solve/graph.ts'
import { type Appearance, digestSource } from './content-digest.ts'
import { gitSourceOf } from './copy-items.ts'
import { openedContext, openResult } from './open-source.ts'
import { type SelectedSource, selectSources } from './select-sources.ts'
import { hashListings, type ListedSource, lastChange, listSource } from './source-listing.ts'
import { pathText, type SourceTree } from './source-tree.ts'
import { nothingEarlier, type Question, type StatCache, statCache } from './stat-cache.ts'
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
  const cache = statCache(nothingEarlier, world.now)
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

/** What the sources give: parts of the key beside the files, and a line for each file. */
interface Sources {
  readonly parts: Record<string, string>
  readonly lines: Buffer[]
}

/** A path of the step as it was found. */
interface ListedItem {
  readonly item: SelectedSource
  readonly listed: ListedSource
}

/**
 * All files are one part, so that a record stays small; what it stands for is in the inventory. A
 * context whose files all look as they did is not looked at any closer.
 */
async function digestSources(
  step: CopyStep,
  tree: SourceTree,
  context: DigestContext,
): Promise<KeyParts> {
  const items = new Map(
    step.sources.map(source => [source, listItems(step, source, { tree, ...context })]),
  )
  const question = questionOf(step, items, { tree, context })
  const known = question === undefined ? undefined : context.cache.answerTo(question)
  const digest = async () => {
    const found: Sources = { parts: {}, lines: [] }
    for (const source of step.sources) {
      await digestOne(step, source, { items: items.get(source) ?? [], tree, found, ...context })
    }
    return { parts: found.parts, inventory: Buffer.concat(found.lines) }
  }
  if (known !== undefined) {
    const { files } = known
    // Most builds find what they look for, and need none.
    if (files !== undefined) {
      context.inventories.hold(files, async () => (await digest()).inventory)
    }
    return known
  }
  const { parts, inventory } = await digest()
  const files = inventory.length === 0 ? undefined : digestOf(inventory)
  const answer = { ...parts, ...field('files', files) }
  if (files !== undefined) context.inventories.hold(files, () => inventory)
  if (question !== undefined) {
    const changed = [...items.values()].flat().map(({ listed }) => lastChange(listed))
    context.cache.keepAnswer(question, { parts: answer, changed: Math.max(...changed) })
  }
  return answer
}

function listItems(
  step: CopyStep,
  source: Source,
  { tree, signal }: Pick<DigestContext, 'signal'> & { readonly tree: SourceTree },
): ListedItem[] {
  if (source.kind !== 'path') return []
  return selectSources(tree, source, step).selected.map(item => ({
    item,
    listed: listSource(tree, item, { filter: item.filter, signal }),
  }))
}

/** None for a step that reads anything but files of the tree. */
function questionOf(
  { sources, chown, chmod, exclude, parents }: CopyStep,
  items: ReadonlyMap<Source, readonly ListedItem[]>,
  { tree, context }: { readonly tree: SourceTree; readonly context: DigestContext },
): Question | undefined {
  if (sources.some(({ kind }) => kind === 'url' || kind === 'git')) return undefined
  const { ignored } = tree
  const step = { sources, chown, chmod, exclude, parents, ignored, owners: context.owners }
  const looks = createHash('sha256')
  for (const { item, listed } of [...items.values()].flat()) {
    looks.update(JSON.stringify([pathText(item.path), pathText(item.name)]))
    hashListings(listed, looks)
  }
  return { step: digestOf(JSON.stringify(step)), looks: looks.digest('hex') }
}

interface OneSource extends DigestContext {
  readonly items: readonly ListedItem[]
  readonly tree: SourceTree
  readonly found: Sources
}

async function digestOne(
  step: CopyStep,
  source: Source,
  { items, tree, found, ...context }: OneSource,
): Promise<void> {
  const { parts, lines } = found
  if (source.kind === 'heredoc') {
    const { path, content } = source.file
    const more = Buffer.byteLength(content)
    const line = fileLine({ ...inlineFile, path, more, content: hexOf(digestOf(content)) })
    lines.push(Buffer.from(line))
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
  for (const { item, listed } of items) {
    const { filter, name } = item
    // A directory without files is copied too; its name matters to no result but its being there.
    parts[`source ${pathText(name)}`] = listed.kind
    lines.push(await digestSource(tree, listed, { ...context, name, appearance, filter }))
  }
}

/** As --chmod and --chown have not changed it: they are parts of the key. */
const inlineFile = { type: constants.S_IFREG, mode: 0o644, owner: '0:0', attributes: [] }

/** Names of parts are told to the user. */
function withoutUser(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//')
}

/** Modes after --chmod, so that a checkout's umask does not matter where --chmod decides (K09). */
function appearanceOf({ chmod, chown }: CopyStep, owners: DigestContext['owners']): Appearance {
  const owner = chown ?? (owners === 'root' ? '0:0' : undefined)
  return {
    ...field('owner', owner),
    ...(chmod === undefined ? {} : { mode: (mode, isDir) => applyMode(chmod, mode, isDir) }),
  }
}
