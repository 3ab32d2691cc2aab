/**
 * Prune: removes what no image, no container, no running process and no caller refers to.
 *
 *   images ──► manifests ──► configs, layers ┐
 *         └──► chain IDs ┐                   ├──► blobs that stay
 *   containers ──────────┼──► snapshots ─────┘    (the layers of snapshots that stay)
 *   `keep` ──────────────┤    that stay
 *   leases ──────────────┘    and what else is held (content/leases.ts)
 *
 * Others go on meanwhile; who looks for something waits for the moment in which things are moved to
 * the trash.
 */
import { join } from 'node:path'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type ChainId, chainIds, type DiffId, type Digest } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import type { Manifest } from '../../oci/manifest.ts'
import { ignoreMissing } from '../content/atomic-file.ts'
import type { BlobInfo, BlobReader } from '../content/content-store.ts'
import { isPartial } from '../content/directory-ingest.ts'
import { tryLock } from '../content/file-lock.ts'
import type { Held } from '../content/leases.ts'
import { filesIn } from '../content/own-files.ts'
import type { SnapshotInfo } from '../snapshot/snapshotter.ts'
import type { Store } from '../store.ts'
import { walkImage } from './image-graph.ts'

export interface Pruned {
  readonly snapshots: readonly SnapshotInfo[]
  readonly blobs: readonly BlobInfo[]
}

/** Filesystems that the build cache wants to keep, asked for while nobody adds to it. */
export type Keep = (held: Held) => Promise<Iterable<ChainId>>

/**
 * What is removed is in the trash when the promise resolves; `store.trash.empty()` frees its space.
 * What this process itself holds stays: see `Store.letGo`. Throws `conflict` as `Store.collect`.
 * Stopped half-way it has removed less, nothing wrong.
 */
export async function pruneStore(store: Store, keep: Keep): Promise<Pruned> {
  // First, because it takes locks of its own: forgets what is not mounted any more.
  await store.mounts.list()
  const documents = remembering(store.unheld)
  await referredTo(await targetsOf(store), documents)
  return await store.collect(async held => {
    const kept = await keep(held)
    const used = await usedBy(store, held, documents)
    const snapshots = await store.snapshots.prune([...kept, ...used.chains])
    for await (const { diffId } of store.snapshots.list()) used.layers.add(diffId)
    for (const layer of used.layers) {
      for (const { digest } of await store.layers.blobsOf(layer)) used.blobs.add(digest)
    }
    const blobs = await removeOthers(store, used.blobs)
    await store.layers.forgetOthers(used.layers)
    return { snapshots, blobs }
  })
}

export interface Used {
  readonly chains: Set<ChainId>
  readonly layers: Set<DiffId>
  readonly blobs: Set<Digest>
}

/** What images consist of, and what is held: for who collects. */
export async function usedBy(
  store: Store,
  held: Held,
  documents: Documents = store.unheld,
): Promise<Used> {
  const used = await referredTo([...(await targetsOf(store)), ...held.images], documents)
  for (const name of held.snapshots) used.chains.add(name)
  for (const diffId of held.layers) used.layers.add(diffId)
  for (const digest of held.blobs) used.blobs.add(digest)
  return used
}

export async function targetsOf({ images }: Pick<Store, 'images'>): Promise<Descriptor[]> {
  return (await images.list()).map(({ target }) => target)
}

type Documents = Pick<BlobReader, 'find' | 'read'>

/** They never change: those read before others have to wait are not read again while they do. */
function remembering(content: Documents): Documents {
  const known = new Map<Digest, Uint8Array>()
  return {
    find: async digest => {
      const bytes = known.get(digest)
      return bytes === undefined ? content.find(digest) : { digest, size: bytes.length }
    },
    read: async (digest, maxSize) => {
      const bytes = known.get(digest) ?? (await content.read(digest, maxSize))
      known.set(digest, bytes)
      return bytes
    },
  }
}

/** What images consist of, as far as it can be read. */
export async function referredTo(images: Iterable<Descriptor>, content: Documents): Promise<Used> {
  const used: Used = { chains: new Set(), layers: new Set(), blobs: new Set() }
  for (const target of images) {
    used.blobs.add(target.digest)
    for await (const node of walkReadable(target, content)) {
      used.blobs.add(node.descriptor.digest)
      if (node.kind !== 'manifest') continue
      for (const chain of await chainsOf(node.value, content)) used.chains.add(chain)
    }
  }
  return used
}

/** An image that is damaged or not all there keeps what can be read of it. */
async function* walkReadable(target: Descriptor, content: Documents) {
  try {
    yield* walkImage(target, content)
  } catch (error) {
    ignoreUnreadable(error)
  }
}

async function chainsOf({ config }: Manifest, content: Documents): Promise<ChainId[]> {
  try {
    const bytes = await content.read(config.digest)
    return chainIds(parseImageConfig(bytes).value.rootfs.diff_ids)
  } catch (error) {
    ignoreUnreadable(error)
    return []
  }
}

function ignoreUnreadable(error: unknown): void {
  const codes = ['not-found', 'invalid', 'digest-mismatch', 'too-large'] as const
  if (!codes.some(code => hasCode(error, code))) throw error
}

/** What is left of downloads that nobody goes on with just now. */
export async function discardDownloads({ root, trash }: Store): Promise<void> {
  const directory = join(root, 'ingest')
  for (const name of filesIn(directory)) {
    if (!isPartial(name)) continue
    try {
      // Who goes on with one holds its lock; who is about to sees that it has gone.
      using lock = tryLock(join(directory, name), 'exclusive')
      if (lock !== undefined) await trash.discard(join(directory, name))
    } catch (error) {
      ignoreMissing(error)
    }
  }
}

async function removeOthers(
  { unheld, trash }: Store,
  used: ReadonlySet<Digest>,
): Promise<BlobInfo[]> {
  const removed: BlobInfo[] = []
  for await (const blob of unheld.list()) {
    if (used.has(blob.digest)) continue
    await trash.discard(unheld.pathOf(blob.digest))
    removed.push(blob)
  }
  return removed
}
