/**
 * COPY and ADD: files of the context, a stage, an image or a URL into the filesystem of a step.
 *
 * Reference: C04–C19, C24–C30, H04.
 */
import { basename, dirname } from 'node:path'
import { type CopyEnd, copyTree } from '../../layerfs/layer/copy.ts'
import type { CopyOptions } from '../../layerfs/layer/copy-options.ts'
import { extractArchive } from '../../layerfs/layer/extract.ts'
import { openRoot, type Root } from '../../layerfs/layer/rootfs.ts'
import { writeFileInto } from '../../layerfs/layer/write-file.ts'
import type { RootMount } from '../../layerfs/mount.ts'
import { unreachable } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import { applyMode } from '../dockerfile/mode.ts'
import type { CopyStep, InlineFile } from '../plan/step.ts'
import type { StepResult } from '../solve/graph.ts'
import { filterOf } from './copy-filter.ts'
import { type Item, itemsOf } from './copy-items.ts'
import { makeLayer } from './new-layer.ts'
import { openedContext, openResult } from './open-source.ts'
import { type Owner, ownerIn } from './owner.ts'
import { type PackContext, packedCopy } from './packed-copy.ts'
import { isDirectory, isRegularFile } from './source-tree.ts'

export interface CopyContext extends PackContext {
  /** What it reads from; absent: the build context or a named one. */
  readonly source: StepResult | undefined
}

export async function executeCopy(step: CopyStep, context: CopyContext): Promise<StepResult> {
  const { parent, source, world, signal } = context
  if (source !== undefined) {
    return makeLayer(parent, world, {
      signal,
      work: async ({ mount }) => {
        using tree = await openResult(source, world, signal)
        await copyInto(mount, await itemsOf(step, { tree, ...context }))
      },
    })
  }
  const opened = await openedContext(step.from, world)
  const items = await itemsOf(step, { tree: opened.tree, ...context })
  const packed = await packedCopy(step, { items, context: opened }, context)
  if (packed !== undefined) return packed
  return makeLayer(parent, world, { signal, work: ({ mount }) => copyInto(mount, items) })

  async function copyInto(mount: RootMount, items: readonly Item[]): Promise<void> {
    using root = openRoot(mount)
    await copySources(step, { root, items, context })
  }
}

type ItemOf<Kind extends Item['kind']> = Extract<Item, { kind: Kind }>

interface Copy {
  readonly root: Root
  readonly items: readonly Item[]
  readonly context: CopyContext
}

async function copySources(step: CopyStep, copy: Copy): Promise<void> {
  const owner = step.chown === undefined ? undefined : ownerIn(copy.root, step.chown)
  // Files of the context belong to root, whoever checked them out (C14, C15).
  const fallback = copy.context.source === undefined ? { uid: 0, gid: 0 } : undefined
  const destination = destinationOf(step, copy)
  for (const item of copy.items) {
    await copyItem(item, { step, copy, destination, owner: owner ?? fallback })
  }
}

interface Destination {
  readonly path: string
  readonly isDirectory: boolean
}

/** A directory when it says so, when it is one, or when more than one thing goes there (C05). */
function destinationOf({ dest, sources }: CopyStep, { items, root }: Copy): Destination {
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

function copyItem(item: Item, into: ItemCopy): Promise<void> | void {
  switch (item.kind) {
    case 'heredoc':
      return writeHeredoc(item.file, into)
    case 'selected':
      return copySelected(item, into)
    case 'download':
      return copyDownload(item, into)
    default:
      return unreachable(item)
  }
}

function writeHeredoc({ path: name, content }: InlineFile, into: ItemCopy): void {
  const { copy, destination, owner, step } = into
  const path = fileTarget(destination, Buffer.from(name))
  writeFileInto({ root: copy.root, path }, Buffer.from(content), {
    ...(owner ?? { uid: 0, gid: 0 }),
    mode: step.chmod === undefined ? 0o644 : applyMode(step.chmod, 0o644, false),
    ...field('impliedMode', impliedMode(step.chmod)),
    time: copy.context.world.now(),
  })
}

async function copySelected(item: ItemOf<'selected'>, into: ItemCopy): Promise<void> {
  const { tree, selected } = item
  const { step, copy, destination } = into
  const source = { root: tree.root, path: selected.path }
  const { filter } = selected
  const options: CopyOptions = {
    ...attributes(into),
    ...field('filter', filterOf(filter)),
  }
  if (isDirectory(selected.stat)) {
    copyTree(source, { root: copy.root, path: destination.path }, options)
    return
  }
  const mayUnpack = step.add && step.unpack !== false && isRegularFile(selected.stat)
  if (mayUnpack && (await unpack(source, into))) return
  const path = fileTarget(destination, selected.name)
  copyTree(source, { root: copy.root, path }, options)
}

/** A file from a URL is readable by its owner alone unless --chmod says otherwise (C26). */
const downloadMode = 0o600

async function copyDownload(item: ItemOf<'download'>, into: ItemCopy): Promise<void> {
  const { name, file, mtime } = item
  const { step, copy, destination } = into
  using root = openRoot({ kind: 'directory', path: dirname(file), readOnly: true })
  const source = { root, path: basename(file) }
  if (step.unpack === true && (await unpack(source, into))) return
  const { chmod } = step
  copyTree(
    source,
    { root: copy.root, path: fileTarget(destination, name) },
    {
      ...attributes(into),
      mode: (mode, kind) => {
        if (kind === 'directory') return mode
        return chmod === undefined ? downloadMode : applyMode(chmod, downloadMode, false)
      },
      mtime,
    },
  )
}

/** Whether `source` was an archive; if not, nothing was done. */
async function unpack(source: CopyEnd, { step, copy, destination, owner }: ItemCopy) {
  const target = { root: copy.root, path: destination.path }
  // Without --chown an archive's owners are its own (C24).
  const given = step.chown === undefined ? {} : field('owner', owner)
  const { signal } = copy.context
  return (await extractArchive(source, target, { ...given, signal })) === 'extracted'
}

function fileTarget({ path, isDirectory: isDir }: Destination, name: Buffer): Buffer {
  if (!isDir) return Buffer.from(path)
  return Buffer.concat([Buffer.from(path.endsWith('/') ? path : `${path}/`), name])
}

/** What --chown and --chmod say. */
function attributes({ step: { chmod }, owner }: ItemCopy): CopyOptions {
  return {
    emptySockets: true,
    ...field('owner', owner),
    ...field('impliedMode', impliedMode(chmod)),
    ...(chmod === undefined
      ? {}
      : { mode: (mode, kind) => applyMode(chmod, mode, kind === 'directory') }),
  }
}

/**
 * Of directories made for the destination: a mode in letters changes what is copied alone, one in
 * digits also what is made, but for the special bits.
 */
function impliedMode(chmod: CopyStep['chmod']): number | undefined {
  return chmod?.kind === 'octal' ? chmod.mode & 0o777 : undefined
}
