/**
 * Repair: takes out of the store what is damaged, so that the next use makes or fetches it again,
 * and makes again at once what can be made of what is here.
 *
 * What is taken out goes to the trash, while no other process brings anything in; nothing is taken
 * that a container, a mounted image or a running step uses.
 */
import { join } from 'node:path'
import { type ChainId, chainIds } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import type { SnapshotInfo } from '../snapshot/snapshotter.ts'
import type { Store } from '../store.ts'
import { digestOfBlob, type Finding } from './check-store.ts'
import { walkImage } from './image-graph.ts'
import type { ImageRecord } from './image-store.ts'
import { unpackImage } from './unpack.ts'

export type Problem = Finding | { readonly kind: 'stray'; readonly path: string }

export interface Repair {
  readonly problem: Problem
  /** `kept`: it stays as it is, for `reason`. */
  readonly outcome: 'removed' | 'kept'
  readonly reason?: string
}

/** Throws `conflict` while another process brings something in; nothing is removed then. */
export async function repairStore(store: Store, problems: readonly Problem[]): Promise<Repair[]> {
  const repairs = await store.exclusively(async () => {
    const done: Repair[] = []
    for (const problem of problems) done.push(await repair(problem, store))
    return done
  })
  await makeAgain(store, repairs)
  return repairs
}

async function repair(problem: Problem, store: Store): Promise<Repair> {
  switch (problem.kind) {
    case 'damaged-blob': {
      const { digest } = problem.blob
      // Since it was found, another process may have replaced it.
      const found = await digestOfBlob(digest, store.content)
      if (found !== digest) await store.trash.discard(store.content.pathOf(digest))
      return { problem, outcome: 'removed' }
    }
    case 'damaged-snapshot':
      return removeSnapshot(problem, store)
    case 'damaged-image':
      await store.images.remove(problem.image)
      return { problem, outcome: 'removed' }
    case 'stray':
      // At the top may be anything that somebody put there.
      if (!problem.path.includes('/')) {
        return { problem, outcome: 'kept', reason: 'it may be yours: remove it yourself' }
      }
      await store.trash.discard(join(store.root, problem.path))
      return { problem, outcome: 'removed' }
    case 'damaged-record':
      if (!problem.path.startsWith('images/')) {
        return { problem, outcome: 'kept', reason: 'remove the container when it is not needed' }
      }
      await store.trash.discard(join(store.root, problem.path))
      return { problem, outcome: 'removed' }
    case 'orphan':
      return { problem, outcome: 'kept', reason: 'what was written in it is still there' }
    case 'missing-layer':
      return { problem, outcome: 'kept', reason: 'it is pulled when it is needed' }
  }
}

/** With all that builds on it: topmost first, so that what is used stops it before it began. */
async function removeSnapshot(
  problem: Extract<Problem, { kind: 'damaged-snapshot' }>,
  { snapshots }: Store,
): Promise<Repair> {
  const all: SnapshotInfo[] = []
  for await (const info of snapshots.list()) all.push(info)
  const doomed = [problem.name, ...descendantsOf(problem.name, all)]
  const used = new Set(await snapshots.parentsInUse())
  if (doomed.some(name => used.has(name))) {
    return { problem, outcome: 'kept', reason: 'a container or a mounted image uses it' }
  }
  for (const name of doomed.reverse()) await snapshots.remove(name)
  return { problem, outcome: 'removed' }
}

/** Nearest first. */
function descendantsOf(name: ChainId, all: readonly SnapshotInfo[]): ChainId[] {
  // A set visits what is added during the walk.
  const found = new Set<ChainId>([name])
  for (const each of found) {
    for (const child of all) if (child.parent === each) found.add(child.name)
  }
  found.delete(name)
  return [...found]
}

/** Blobs from unpacked layers, unpacked layers from blobs. */
async function makeAgain(store: Store, repairs: readonly Repair[]): Promise<void> {
  if (!repairs.some(({ outcome }) => outcome === 'removed')) return
  const lostBlobs = new Set(
    repairs.flatMap(({ problem }) =>
      problem.kind === 'damaged-blob' ? [problem.blob.digest] : [],
    ),
  )
  const lostSnapshots = repairs.some(({ problem }) => problem.kind === 'damaged-snapshot')
  for (const image of await store.images.list()) {
    for await (const { manifest, config } of documentsOf(image, store)) {
      const chains = chainIds(config.rootfs.diff_ids)
      for (const [i, layer] of manifest.layers.entries()) {
        const chain = chains[i]
        if (chain === undefined || !lostBlobs.has(layer.digest)) continue
        await unlessImpossible(() => store.layers.layerBlob(chain))
      }
      if (lostSnapshots) await unlessImpossible(() => unpackImage({ manifest, config }, store))
    }
  }
}

async function* documentsOf({ target }: ImageRecord, { content }: Store) {
  try {
    for await (const node of walkImage(target, content)) {
      if (node.kind !== 'manifest') continue
      const config = parseImageConfig(await content.read(node.value.config.digest)).value
      yield { manifest: node.value, config }
    }
  } catch (error) {
    ignoreUnmade(error)
  }
}

async function unlessImpossible(make: () => Promise<unknown>): Promise<void> {
  try {
    await make()
  } catch (error) {
    ignoreUnmade(error)
  }
}

/** Then the next use fetches it. */
function ignoreUnmade(error: unknown): void {
  const codes = ['not-found', 'digest-mismatch', 'invalid', 'too-large', 'unsupported'] as const
  if (!codes.some(code => hasCode(error, code))) throw error
}
