/**
 * One step's change as a new layer: prepare, do, diff, commit.
 *
 * A step that changes nothing still gives a layer, so that layers and history agree (R18, O01). One
 * that changes what it changed before gives the layer of then: see twin-results.ts.
 */
import type { PlainCopy } from '../../layerfs/layer/copied-changes.ts'
import { hashLayer } from '../../layerfs/layer/hash-layer.ts'
import { packCopy } from '../../layerfs/layer/pack-copy.ts'
import type { ActiveSnapshot } from '../../layerfs/snapshot/snapshotter.ts'
import { chainId } from '../../oci/digest.ts'
import { chainOf, type StepResult, withLayer } from '../solve/graph.ts'
import type { StepWorld } from './step-world.ts'

/** Written in the time that a thread takes to start, and no more to keep twice than that. */
const mostPacked = 16 * 1024 * 1024

/**
 * The same for a copy that no step of this build looks at: its tar alone, from which the files are
 * made when somebody wants them. `undefined`: this is not for it, and nothing was done.
 */
export async function packLayer(
  parent: StepResult,
  { snapshots, twins, now }: StepWorld,
  { copy, signal }: { readonly copy: PlainCopy; readonly signal: AbortSignal },
): Promise<StepResult | undefined> {
  const chain = chainOf(parent)
  const created = now().toISOString()
  await using staged = await snapshots.stagePacked()
  const packed = await packCopy(copy, { tar: staged.tar, limit: mostPacked, signal })
  if (packed === undefined) return undefined
  const { diffId, look } = packed
  // Whether more than times differ is seen by the files.
  if (await twins.mayHave(chain, look)) return undefined
  await snapshots.commit(staged, {
    name: chainId(chain, diffId),
    diffId,
    ...(chain === undefined ? {} : { parent: chain }),
  })
  await twins.remember(chain, { diffId, created, look })
  return { layers: withLayer(parent, diffId), created }
}

/** When `work` fails, or the signal aborts, nothing is left. */
export async function makeLayer(
  parent: StepResult,
  { snapshots, filesystems, twins, now }: StepWorld,
  { work, signal }: { work: (snapshot: ActiveSnapshot) => Promise<void>; signal: AbortSignal },
): Promise<StepResult> {
  const chain = chainOf(parent)
  if (chain !== undefined) await filesystems.materialize(chain, signal)
  const created = now().toISOString()
  await using active = await snapshots.prepare(chain)
  await work(active)
  signal.throwIfAborted()
  active.record()
  const { upper, lower } = active
  const { diffId, look } = await hashLayer({ upper, lower }, signal)
  const twin = await twins.find({ parent: chain, upper, lower, diffId, look, signal })
  if (twin !== undefined) return { layers: withLayer(parent, twin.diffId), created: twin.created }
  await snapshots.commit(active, {
    name: chainId(chain, diffId),
    diffId,
    ...(chain === undefined ? {} : { parent: chain }),
  })
  await twins.remember(chain, { diffId, created, look })
  return { layers: withLayer(parent, diffId), created }
}
