import { forgetSteps } from '../../builder/forget-steps.ts'
import { type Pruned, pruneStore } from '../../layerfs/image/prune.ts'
import type { Store } from '../../layerfs/store.ts'

/**
 * Forgets cached steps from before `before`, then removes what neither an image, a container nor a
 * remaining step needs. Throws `conflict` while another process brings something in.
 */
export async function removeUnused(
  store: Store,
  before: Date,
): Promise<Pruned & { readonly removedSteps: number }> {
  // Nothing is forgotten that cannot be removed now: a running build may count on it.
  await store.exclusively(async () => {})
  const { removedSteps, chains } = await forgetSteps(store.records, before)
  return { ...(await pruneStore(store, chains)), removedSteps }
}
