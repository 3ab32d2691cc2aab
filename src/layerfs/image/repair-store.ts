/**
 * Repair: takes out of the store what is damaged, so that the next use makes or fetches it again,
 * and makes again at once what can be made of what is here.
 *
 * What is taken out goes to the trash; nothing is taken that a container, a mounted image or a
 * running process uses (content/leases.ts). Others go on meanwhile, so what is damaged is looked at
 * once more: somebody may have put a sound one in its place.
 */
import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type ChainId, chainIds, type Digest, hexOf } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import { formatReference } from '../../oci/reference.ts'
import { ignoreMissing } from '../content/atomic-file.ts'
import type { Held } from '../content/leases.ts'
import { findSnapshotRecord } from '../snapshot/snapshot-record.ts'
import type { SnapshotInfo } from '../snapshot/snapshotter.ts'
import type { Store } from '../store.ts'
import { digestOfBlob, type Finding, snapshotFault } from './check-store.ts'
import { walkImage } from './image-graph.ts'
import type { ImageRecord } from './image-store.ts'
import { referredTo } from './prune.ts'
import { unpackImage } from './unpack.ts'

export type Problem = Finding | { readonly kind: 'stray'; readonly path: string }

export interface Repair {
  readonly problem: Problem
  /** `kept`: it stays as it is, for `reason`. */
  readonly outcome: 'removed' | 'kept'
  readonly reason?: string
}

/** Throws `conflict` while another process cleans up; nothing is removed then. */
export async function repairStore(store: Store, problems: readonly Problem[]): Promise<Repair[]> {
  const doomed = await lookAgain(store, problems)
  // What we looked at to come here.
  store.letGo()
  const repairs = await store.collect(async held => {
    const { blobs } = await referredTo(held.images, store.unheld)
    const collection = { store, doomed, held, blobs: new Set([...held.blobs, ...blobs]) }
    const done: Repair[] = []
    for (const problem of problems) done.push(await repair(problem, collection))
    return done
  })
  await makeAgain(store, repairs)
  return repairs
}

/** What is still damaged, and which file or directory that is. */
type Doomed = ReadonlyMap<Problem, string>

async function lookAgain(store: Store, problems: readonly Problem[]): Promise<Doomed> {
  const blobs = problems.filter(problem => problem.kind === 'damaged-blob')
  const damaged = new Set(blobs.map(({ blob }) => blob.digest))
  const doomed = new Map<Problem, string>()
  for (const problem of problems) {
    const path = pathOf(problem, store)
    const identity = path === undefined ? undefined : await identityOf(path)
    if (identity !== undefined && (await isDamaged(problem, store, damaged))) {
      doomed.set(problem, identity)
    }
  }
  return doomed
}

function pathOf(problem: Problem, { root, unheld }: Store): string | undefined {
  if (problem.kind === 'damaged-blob') return unheld.pathOf(problem.blob.digest)
  if (problem.kind === 'damaged-snapshot') return join(root, 'snapshots', hexOf(problem.name))
  return undefined
}

/** Another one's is another, though it has the same name. */
async function identityOf(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(ignoreMissing)
  return found === undefined ? undefined : `${found.dev}:${found.ino}:${found.birthtimeNs}`
}

async function isDamaged(
  problem: Problem,
  store: Store,
  damaged: ReadonlySet<Digest>,
): Promise<boolean> {
  if (problem.kind === 'damaged-blob') {
    return (await digestOfBlob(problem.blob.digest, store.unheld)) !== problem.blob.digest
  }
  if (problem.kind !== 'damaged-snapshot') return false
  return (await snapshotFault(problem.name, store, { damaged })) !== undefined
}

/** What a repair goes by while it is alone. */
interface Collection {
  readonly store: Store
  readonly doomed: Doomed
  readonly held: Held
  /** Those that running processes hold. */
  readonly blobs: ReadonlySet<Digest>
}

const inUse = 'a running process uses it: repair again when it has ended'

async function repair(problem: Problem, collection: Collection): Promise<Repair> {
  const { store, held } = collection
  switch (problem.kind) {
    case 'damaged-blob':
      if (!(await stillStands(problem, collection))) return { problem, outcome: 'removed' }
      if (collection.blobs.has(problem.blob.digest)) {
        return { problem, outcome: 'kept', reason: inUse }
      }
      await store.trash.discard(store.unheld.pathOf(problem.blob.digest))
      return { problem, outcome: 'removed' }
    case 'damaged-snapshot':
      if (!(await stillStands(problem, collection))) return { problem, outcome: 'removed' }
      return removeSnapshot(problem, collection)
    case 'damaged-image':
      if (await isStillNamed(problem.image, store)) await store.images.remove(problem.image)
      return { problem, outcome: 'removed' }
    case 'stray':
      // At the top may be anything that somebody put there.
      if (!problem.path.includes('/')) {
        return { problem, outcome: 'kept', reason: 'it may be yours: remove it yourself' }
      }
      if (!isSnapshotNow(problem.path, store, held)) {
        await store.trash.discard(join(store.root, problem.path))
      }
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

/** Not so when somebody has replaced it since. */
async function stillStands(problem: Problem, { store, doomed }: Collection): Promise<boolean> {
  const path = pathOf(problem, store)
  const identity = path === undefined ? undefined : await identityOf(path)
  return identity !== undefined && identity === doomed.get(problem)
}

async function isStillNamed({ reference, target }: ImageRecord, { images }: Store) {
  const name = reference && formatReference(reference)
  return (await images.list()).some(
    other =>
      other.target.digest === target.digest &&
      (other.reference && formatReference(other.reference)) === name,
  )
}

/** What nobody knew may have been committed since. */
function isSnapshotNow(path: string, { root }: Store, { snapshots }: Held): boolean {
  if (dirname(path) !== 'snapshots') return false
  const isHeld = [...snapshots].some(name => hexOf(name) === basename(path))
  return isHeld || findSnapshotRecord(join(root, path)) !== undefined
}

/** With all that builds on it: topmost first, so that what is used stops it before it began. */
async function removeSnapshot(
  problem: Extract<Problem, { kind: 'damaged-snapshot' }>,
  { store: { snapshots }, held }: Collection,
): Promise<Repair> {
  const all: SnapshotInfo[] = []
  for await (const info of snapshots.list()) all.push(info)
  const doomed = [problem.name, ...descendantsOf(problem.name, all)]
  if (doomed.some(name => held.snapshots.has(name))) {
    return { problem, outcome: 'kept', reason: inUse }
  }
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
