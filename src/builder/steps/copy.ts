/**
 * COPY and ADD: files of the context, a stage or an image into the filesystem of a step.
 *
 * Reference: C04–C18, C24, H04.
 */
import { type CopyOptions, copyTree } from '../../layerfs/layer/copy.ts'
import { extractArchive } from '../../layerfs/layer/extract.ts'
import { openRoot, type Root } from '../../layerfs/layer/rootfs.ts'
import { writeFileInto } from '../../layerfs/layer/write-file.ts'
import { field } from '../../oci/json.ts'
import { applyMode } from '../dockerfile/mode.ts'
import type { CopyStep, InlineFile } from '../plan/step.ts'
import type { StepResult } from '../solve/graph.ts'
import { sourceFilter } from './copy-filter.ts'
import { makeLayer } from './new-layer.ts'
import { openResult } from './open-source.ts'
import { type Selected, select } from './select.ts'
import { isDirectory, isRegularFile, type SourceTree } from './source-tree.ts'
import type { StepWorld } from './step-world.ts'
import { type Owner, ownerIn } from './user.ts'

export interface CopyContext {
  readonly nodeId: string
  readonly parent: StepResult
  /** What it reads from; absent: the build context. */
  readonly source: StepResult | undefined
  readonly world: StepWorld
  readonly signal: AbortSignal
}

export function executeCopy(step: CopyStep, context: CopyContext): Promise<StepResult> {
  const { parent, source, world, signal } = context
  return makeLayer(parent, world, {
    signal,
    work: async ({ mount }) => {
      if (source === undefined) return copyFrom(world.context, mount)
      using tree = await openResult(source, world, signal)
      await copyFrom(tree, mount)
    },
  })

  async function copyFrom(tree: SourceTree, mount: Parameters<typeof openRoot>[0]): Promise<void> {
    using root = openRoot(mount)
    await copySources(step, { tree, root, context })
  }
}

interface Copy {
  readonly tree: SourceTree
  readonly root: Root
  readonly context: CopyContext
}

type Item =
  | { readonly kind: 'selected'; readonly selected: Selected }
  | { readonly kind: 'heredoc'; readonly file: InlineFile }

async function copySources(step: CopyStep, copy: Copy): Promise<void> {
  const items = itemsOf(step, copy)
  const owner = step.chown === undefined ? undefined : ownerIn(copy.root, step.chown)
  // Files of the context belong to root, whoever checked them out (C14, C15).
  const fallback = step.from.kind === 'context' ? { uid: 0, gid: 0 } : undefined
  const destination = destinationOf(step, items, copy.root)
  for (const item of items) {
    await copyItem(item, { step, copy, destination, owner: owner ?? fallback })
  }
}

function itemsOf(step: CopyStep, { tree, context }: Copy): Item[] {
  return step.sources.flatMap((source): Item[] => {
    if (source.kind === 'heredoc') return [source]
    if (source.kind !== 'path') throw new Error(`${source.kind} came through unsupported.ts`)
    const { selected, isWildcard } = select(tree, source.path)
    if (isWildcard && selected.length === 0) {
      context.world.warn(context.nodeId, `"${source.path}" matches nothing in ${tree.name}`)
    }
    return selected.map(item => ({ kind: 'selected', selected: item }))
  })
}

interface Destination {
  readonly path: string
  readonly isDirectory: boolean
}

/** A directory when it says so, when it is one, or when more than one thing goes there (C05). */
function destinationOf(
  { dest, sources }: CopyStep,
  items: readonly Item[],
  root: Root,
): Destination {
  const existing = root.find(dest, 'follow')
  const says = dest.endsWith('/') || sources.length > 1 || items.length > 1
  return { path: dest, isDirectory: says || (existing !== undefined && isDirectory(existing)) }
}

interface ItemCopy {
  readonly step: CopyStep
  readonly copy: Copy
  readonly destination: Destination
  readonly owner: Owner | undefined
}

async function copyItem(item: Item, into: ItemCopy): Promise<void> {
  const { step, copy, destination } = into
  const { root, tree, context } = copy
  const options = optionsFor(item, into)
  if (item.kind === 'heredoc') {
    const path = fileTarget(destination, Buffer.from(item.file.path))
    writeFileInto({ root, path }, Buffer.from(item.file.content), {
      ...(into.owner ?? { uid: 0, gid: 0 }),
      mode: options.mode?.(0o644, 'other') ?? 0o644,
      time: context.world.now(),
    })
    return
  }
  const { selected } = item
  const source = { root: tree.root, path: selected.path }
  if (isDirectory(selected.stat)) {
    copyTree(source, { root, path: destination.path }, options)
    return
  }
  if (step.add && step.unpack !== false && isRegularFile(selected.stat)) {
    // Without --chown an archive's owners are its own (C24).
    const owner = step.chown === undefined ? {} : field('owner', into.owner)
    const target = { root, path: destination.path }
    const found = await extractArchive(source, target, { ...owner, signal: context.signal })
    if (found === 'extracted') return
  }
  copyTree(source, { root, path: fileTarget(destination, selected.name) }, options)
}

function fileTarget({ path, isDirectory: isDir }: Destination, name: Buffer): Buffer {
  if (!isDir) return Buffer.from(path)
  return Buffer.concat([Buffer.from(path.endsWith('/') ? path : `${path}/`), name])
}

function optionsFor(item: Item, { step, copy, owner }: ItemCopy): CopyOptions {
  const { chmod } = step
  const path = item.kind === 'selected' ? item.selected.path : Buffer.alloc(0)
  const filter = sourceFilter(copy.tree, path, step.exclude)
  return {
    ...(owner === undefined ? {} : { owner }),
    ...(chmod === undefined
      ? {}
      : { mode: (mode, kind) => applyMode(chmod, mode, kind === 'directory') }),
    filter: (relative, kind) => filter(relative, kind === 'directory'),
  }
}
