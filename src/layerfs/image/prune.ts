/**
 * Prune: removes what no image, no container and no caller refers to.
 *
 *   images ──► manifests ──► configs, layers ┐
 *         └──► chain IDs ┐                   ├──► blobs that stay
 *   containers ──────────┼──► snapshots ─────┘    (the layers of snapshots that stay)
 *   `keep` ──────────────┘    that stay
 */
import { join } from 'node:path'
import { type ChainId, chainIds, type DiffId, type Digest } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import type { Manifest } from '../../oci/manifest.ts'
import { namesIn } from '../content/atomic-file.ts'
import type { BlobInfo, BlobReader } from '../content/content-store.ts'
import { isPartial } from '../content/directory-ingest.ts'
import type { SnapshotInfo } from '../snapshot/snapshotter.ts'
import type { Store } from '../store.ts'
import { walkImage } from './image-graph.ts'
import type { ImageRecord } from './image-store.ts'

export interface Pruned {
  readonly snapshots: readonly SnapshotInfo[]
  readonly blobs: readonly BlobInfo[]
}

/**
 * `keep`: filesystems that the build cache wants to keep. What is removed is in the trash when the
 * promise resolves; `store.trash.empty()` frees its space. Throws `conflict` while another process
 * brings something in. Stopped half-way it has removed less, nothing wrong.
 */
export async function pruneStore(store: Store, keep: Iterable<ChainId>): Promise<Pruned> {
  // First, because it takes locks of its own: forgets what is not mounted any more.
  await store.mounts.list()
  return await store.exclusively(async () => {
    const used = await referredTo(await store.images.list(), store.content)
    const snapshots = await store.snapshots.prune([...keep, ...used.chains])
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

/** What images consist of, as far as it can be read. */
export async function referredTo(
  images: readonly ImageRecord[],
  content: BlobReader,
): Promise<Used> {
  const used: Used = { chains: new Set(), layers: new Set(), blobs: new Set() }
  for (const { target } of images) {
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
async function* walkReadable(target: ImageRecord['target'], content: BlobReader) {
  try {
    yield* walkImage(target, content)
  } catch (error) {
    ignoreUnreadable(error)
  }
}

async function chainsOf({ config }: Manifest, content: BlobReader): Promise<ChainId[]> {
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

/** What is left of downloads that nobody goes on with. Throws as {@link pruneStore}. */
export async function discardDownloads(store: Store): Promise<void> {
  const directory = join(store.root, 'ingest')
  await store.exclusively(async () => {
    for (const name of await namesIn(directory)) {
      if (isPartial(name)) await store.trash.discard(join(directory, name))
    }
  })
}

async function removeOthers(
  { content, trash }: Store,
  used: ReadonlySet<Digest>,
): Promise<BlobInfo[]> {
  const removed: BlobInfo[] = []
  for await (const blob of content.list()) {
    if (used.has(blob.digest)) continue
    await trash.discard(content.pathOf(blob.digest))
    removed.push(blob)
  }
  return removed
}
