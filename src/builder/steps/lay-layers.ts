/**
 * Layers made on their own, laid on a filesystem that they know nothing of: COPY --link (C20). When
 * the filesystem below changes, what was copied is still known, and only laid again.
 */
import { copyTree } from '../../layerfs/layer/copy.ts'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { type ChainId, chainId, chainIds, type DiffId } from '../../oci/digest.ts'
import { chainOf, type KeyParts, type StepResult } from '../solve/graph.ts'
import type { StepWorld } from './step-world.ts'

export function layKey(base: StepResult, added: StepResult): KeyParts {
  return { base: chainOf(base) ?? 'scratch', layers: added.layers.join(' ') }
}

/** `created` is when the layers were made. A failure leaves nothing half-made. */
export async function layLayers(
  base: StepResult,
  added: StepResult,
  { world, signal }: { world: StepWorld; signal: AbortSignal },
): Promise<StepResult> {
  let below = chainOf(base)
  if (below !== undefined) await world.materialize(below, signal)
  for (const [index, own] of chainIds(added.layers).entries()) {
    signal.throwIfAborted()
    below = await layOne(own, { below, diffId: added.layers[index] as DiffId, world })
  }
  return { ...added, layers: [...base.layers, ...added.layers] }
}

interface Place {
  readonly below: ChainId | undefined
  readonly diffId: DiffId
  readonly world: StepWorld
}

/** `own`: the layer as it is in the store, on top of nothing or of others of its kind. */
async function layOne(own: ChainId, { below, diffId, world }: Place): Promise<ChainId> {
  const { snapshots } = world
  const name = chainId(below, diffId)
  if ((await snapshots.find(name)) !== undefined) return name
  const [directory = ''] = await snapshots.layers(own)
  await using active = await snapshots.prepare(below)
  {
    using from = openRoot({ kind: 'directory', path: directory, readOnly: true })
    using to = openRoot({ kind: 'directory', path: active.upper, readOnly: false })
    copyTree({ root: from, path: '/' }, { root: to, path: '/' })
  }
  const parent = below === undefined ? {} : { parent: below }
  await snapshots.commit(active, { name, diffId, ...parent, whole: true })
  return name
}
