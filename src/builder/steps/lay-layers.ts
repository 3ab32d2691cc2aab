/**
 * Layers made on their own, laid on a filesystem that they know nothing of: COPY --link (C20).
 *
 * Which layers the result has is known at once. Its files are put together when somebody reads
 * them: an image whose base nothing else reads is made, and pushed, without the base's files.
 */
import { copyTree } from '../../layerfs/layer/copy.ts'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { type ChainId, chainId, chainIds, type DiffId } from '../../oci/digest.ts'
import { chainOf, type StepResult } from '../solve/graph.ts'
import type { StepWorld } from './step-world.ts'

/** `created` is when the layers were made. */
export function layLayers(base: StepResult, added: StepResult, world: StepWorld): StepResult {
  let below = chainOf(base)
  for (const [index, own] of chainIds(added.layers).entries()) {
    const place = { below, own, diffId: added.layers[index] as DiffId, world }
    below = chainId(below, place.diffId)
    world.filesystems.addLaid({ name: below, own, lay: signal => layOne(place, signal) })
  }
  return { ...added, layers: [...base.layers, ...added.layers] }
}

interface Place {
  readonly below: ChainId | undefined
  /** The layer as it was made, on top of nothing or of others of its kind. */
  readonly own: ChainId
  readonly diffId: DiffId
  readonly world: StepWorld
}

/** A failure leaves nothing half-made. */
async function layOne({ below, own, diffId, world }: Place, signal: AbortSignal): Promise<void> {
  const { snapshots, filesystems } = world
  for (const chain of [below, own]) {
    if (chain !== undefined) await filesystems.materialize(chain, signal)
  }
  const [directory = ''] = await snapshots.layers(own)
  await using active = await snapshots.prepare(below)
  {
    using from = openRoot({ kind: 'directory', path: directory, readOnly: true })
    using to = openRoot({ kind: 'directory', path: active.upper, readOnly: false })
    copyTree({ root: from, path: '/' }, { root: to, path: '/' })
  }
  const parent = below === undefined ? {} : { parent: below }
  const name = chainId(below, diffId)
  await snapshots.commit(active, { name, diffId, ...parent, whole: true })
}
