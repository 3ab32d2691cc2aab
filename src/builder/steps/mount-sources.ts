/**
 * What the mounts of a RUN show of stages, images and the build context (R09, R10, R16).
 *
 * Each mount's source is an input of the RUN. Its key has what the mount shows, not where it comes
 * from: a stage that ran again with the same files in that place changes nothing.
 */
import { constants } from 'node:fs'
import type { CopyEnd } from '../../layerfs/layer/copy.ts'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import type { RootMount } from '../../layerfs/mount.ts'
import { digestOf } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import type { RunMount, RunStep } from '../plan/step.ts'
import { cacheKey } from '../solve/cache-key.ts'
import { chainOf, type KeyParts, type StepResult } from '../solve/graph.ts'
import { digestSource } from './content-digest.ts'
import { takeAll } from './copy-filter.ts'
import { openResult } from './open-source.ts'
import { listSource } from './source-listing.ts'
import { type Located, locate, type SourceTree } from './source-tree.ts'
import { nothingEarlier, statCache } from './stat-cache.ts'
import type { StepWorld } from './step-world.ts'

export type SourcedMount = Extract<RunMount, { kind: 'bind' | 'cache' }>

/** A mount that shows, or begins with, files of somewhere else. */
export function isSourced(mount: RunMount): mount is SourcedMount {
  return mount.kind === 'bind' || (mount.kind === 'cache' && mount.from.kind !== 'scratch')
}

export interface MountInputs {
  /** Of each sourced mount, in their order. */
  readonly sources: readonly StepResult[]
  readonly world: StepWorld
  readonly signal: AbortSignal
}

interface Sourced {
  readonly mount: SourcedMount
  readonly result: StepResult
}

/** Every sourced mount, and the filesystem it reads from. */
export function withSources(
  { mounts }: Pick<RunStep, 'mounts'>,
  { sources }: Pick<MountInputs, 'sources'>,
): Sourced[] {
  return mounts.filter(isSourced).map((mount, index) => {
    const result = sources[index]
    if (result === undefined) throw new Error(`The mount at ${mount.target} has no source`)
    return { mount, result }
  })
}

/** One part per sourced mount. Throws `not-found` for a source that is not there. */
export async function mountParts(step: RunStep, inputs: MountInputs): Promise<KeyParts> {
  const parts: Record<string, string> = {}
  for (const [number, { mount, result }] of withSources(step, inputs).entries()) {
    parts[`mount ${number} ${mount.target}`] = await contentOf(mount, result, inputs)
  }
  return parts
}

/** An image never changes, so its name is enough: it need not be here for a step that is cached. */
async function contentOf(
  { from, source }: SourcedMount,
  result: StepResult,
  { world, signal }: MountInputs,
): Promise<string> {
  const chain = chainOf(result) ?? 'scratch'
  if (from.kind === 'image') return `${chain} ${source}`
  const memoKey = cacheKey({ from: chain, mount: source })
  const { content: known } = (await world.memo.find(memoKey)) ?? {}
  if (known !== undefined) return known
  using tree = await openResult(result, world, signal)
  const listed = listSource(tree, sourceIn(tree, source), { filter: takeAll, signal })
  const inventory = await digestSource(tree, listed, {
    name: Buffer.alloc(0),
    appearance: {},
    filter: takeAll,
    cache: statCache(nothingEarlier, world.now),
    signal,
  })
  const content = digestOf(inventory)
  world.inventories.hold(content, () => inventory)
  await world.inventories.keep([content])
  await world.memo.put(memoKey, { content })
  return content
}

function sourceIn(tree: SourceTree, source: string): Located {
  const located = locate(tree, source)
  if (located !== undefined) return located
  throw new OciError(
    'not-found',
    `failed to calculate checksum of ref: "${printable(source)}": not found`,
  )
}

/** Opens the source for one copy out of it. Throws `not-found`; `invalid` for a file. */
export async function withSourceDirectory(
  { source }: SourcedMount,
  view: RootMount,
  use: (from: CopyEnd) => void,
): Promise<void> {
  using root = openRoot(view)
  const { mode } = root.stat(source, 'follow')
  if ((mode & constants.S_IFMT) !== constants.S_IFDIR) {
    throw new OciError('invalid', `Cannot fill a cache from "${printable(source)}": no directory`)
  }
  use({ root, path: source })
}
