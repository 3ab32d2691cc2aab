/**
 * The COPY that most Dockerfiles end with: a directory of the context to where nothing is yet, which
 * no other step of the build looks at. Its layer is packed, and no file is made.
 */
import type { PlainCopy } from '../../layerfs/layer/copied-changes.ts'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { field } from '../../oci/json.ts'
import type { CopyStep } from '../plan/step.ts'
import type { StepResult } from '../solve/graph.ts'
import { filterOf } from './copy-filter.ts'
import type { Item } from './copy-items.ts'
import { packLayer } from './new-layer.ts'
import { viewOf } from './open-source.ts'
import { isDirectory, joinPath, type Located } from './source-tree.ts'
import type { OpenedContext, StepWorld } from './step-world.ts'

export interface PackedSource {
  readonly items: readonly Item[]
  readonly context: OpenedContext
}

export interface PackContext {
  readonly nodeId: string
  readonly parent: StepResult
  readonly world: StepWorld
  readonly signal: AbortSignal
}

/** `undefined` for a COPY that is not like that; nothing was done. */
export async function packedCopy(
  { dest, chown, chmod }: CopyStep,
  { items, context }: PackedSource,
  { nodeId, parent, world, signal }: PackContext,
): Promise<StepResult | undefined> {
  const [item, ...others] = items
  if (item?.kind !== 'selected' || others.length > 0) return undefined
  if (chown !== undefined || chmod !== undefined || world.read.has(nodeId)) return undefined
  const { tree, selected } = item
  if (!isDirectory(selected.stat)) return undefined
  using root = openRoot(await viewOf(parent, world, signal))
  const copy = {
    from: { root: tree.root, path: selected.path },
    to: { root, path: dest },
    owner: { uid: 0, gid: 0 },
    ...field('filter', filterOf(selected.filter)),
    ...field('lookOf', tree === context.tree ? looksIn(selected, context) : undefined),
    time: { seconds: Math.floor(world.now().getTime() / 1000), nanoseconds: 0 },
  }
  return await packLayer(parent, world, { copy, signal })
}

/** The step's key was made of the same listings, and is compared again when all is copied. */
function looksIn({ path: source }: Located, { cache }: OpenedContext): PlainCopy['lookOf'] {
  return path => {
    const place = path.length === 0 ? source : joinPath(source, path)
    return cache.listingOf(place.toString('latin1'))
  }
}
