import { forgetSteps } from '../../builder/forget-steps.ts'
import { type Pruned, pruneStore } from '../../layerfs/image/prune.ts'
import type { Store } from '../../layerfs/store.ts'

/**
 * Forgets cached steps from before `before`, then removes what neither an image, a container, a
 * running process nor a remaining step needs. Throws `conflict` while another process cleans up.
 */
export async function removeUnused(
  store: Store,
  before: Date,
): Promise<Pruned & { readonly removedSteps: number }> {
  // What we looked at to come here.
  store.letGo()
  let removedSteps = 0
  const pruned = await pruneStore(store, async held => {
    const remaining = await forgetSteps(store.records, { before, held: held.snapshots })
    removedSteps = remaining.removedSteps
    return remaining.chains
  })
  return { ...pruned, removedSteps }
}
