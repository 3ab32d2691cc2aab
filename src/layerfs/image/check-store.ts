/**
 * Check: reads the whole store and says what is wrong with it, changing nothing.
 *
 * Others go on meanwhile. What is looked at is held while it is (content/leases.ts), so that nothing
 * is called damaged that is being removed, and let go of before the next, so that it can be.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Descriptor } from '../../oci/descriptor.ts'
import {
  algorithmOf,
  type ChainId,
  chainIds,
  type Digest,
  finishDigest,
  parseChainId,
} from '../../oci/digest.ts'
import { createDigestHash } from '../../oci/digest-hash.ts'
import { hasCode } from '../../oci/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import type { Manifest } from '../../oci/manifest.ts'
import { ignoreMissing, namesIn } from '../content/atomic-file.ts'
import type { BlobInfo } from '../content/content-store.ts'
import { readOwnText } from '../content/own-files.ts'
import type { Store } from '../store.ts'
import { filesFault } from './check-files.ts'
import { walkImage } from './image-graph.ts'
import type { ImageRecord } from './image-store.ts'

export type Finding =
  /** The bytes are not those that the digest names. */
  | { readonly kind: 'damaged-blob'; readonly blob: BlobInfo }
  /** A document that cannot be read, or that is missing. */
  | { readonly kind: 'damaged-image'; readonly image: ImageRecord; readonly reason: string }
  /** The layer is neither there as a blob nor unpacked. */
  | { readonly kind: 'missing-layer'; readonly image: ImageRecord; readonly layer: Descriptor }
  /** Its directory, or a snapshot that it builds on, is gone, or its files are others. */
  | { readonly kind: 'damaged-snapshot'; readonly name: ChainId; readonly reason: string }
  /** What an image is called, or a container's record (`path`, below the store's root). */
  | { readonly kind: 'damaged-record'; readonly path: string }
  /** A container or a mounted image (`path`, below the store's root) without what it builds on. */
  | { readonly kind: 'orphan'; readonly path: string; readonly parent: ChainId }

export interface CheckOptions {
  /**
   * `read`: all bytes of blobs and of unpacked layers. `blobs` (the default): those of blobs alone.
   * `trusted`: none.
   */
  readonly contents?: 'read' | 'blobs' | 'trusted'
  readonly signal?: AbortSignal
}

/** What a base image was never pulled for is `missing-layer` too: it is fetched when needed. */
export async function* checkStore(
  store: Store,
  { contents = 'blobs', signal }: CheckOptions = {},
): AsyncGenerator<Finding> {
  const damaged = new Set<Digest>()
  if (contents !== 'trusted') yield* checkBlobs(store, damaged, signal)
  const files = contents === 'read' ? { damaged } : undefined
  yield* checkSnapshots(store, files, signal)
  yield* checkUsers(store)
  yield* checkRecords(store)
  for (const image of await store.images.list()) yield* checkImage(image, store)
}

async function* checkBlobs(
  { unheld }: Store,
  damaged: Set<Digest>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Finding> {
  for await (const blob of unheld.list()) {
    signal?.throwIfAborted()
    const found = await digestOfBlob(blob.digest, unheld)
    // One that was removed meanwhile is not damaged.
    if (found === undefined || found === blob.digest) continue
    damaged.add(blob.digest)
    yield { kind: 'damaged-blob', blob }
  }
}

/** Of the bytes that stand under `digest`; `undefined` when there are none. */
export async function digestOfBlob(
  digest: Digest,
  content: Store['content'],
): Promise<Digest | undefined> {
  const hash = createDigestHash(algorithmOf(digest))
  try {
    for await (const chunk of content.open(digest)) hash.update(chunk)
  } catch (error) {
    if (hasCode(error, 'not-found')) return undefined
    throw error
  }
  return finishDigest(hash, algorithmOf(digest))
}

/** The files are read, and compared with blobs that are not damaged. */
export interface FileCheck {
  readonly damaged: ReadonlySet<Digest>
}

async function* checkSnapshots(
  store: Store,
  files: FileCheck | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Finding> {
  for await (const { name } of store.snapshots.list()) {
    signal?.throwIfAborted()
    const reason = await snapshotFault(name, store, files)
    store.letGo()
    if (reason !== undefined) yield { kind: 'damaged-snapshot', name, reason }
  }
}

/** In words; `undefined` also when there is no such snapshot any more. It is held afterwards. */
export async function snapshotFault(
  name: ChainId,
  store: Store,
  files: FileCheck | undefined,
): Promise<string | undefined> {
  const info = await store.snapshots.find(name)
  if (info === undefined) return undefined
  return (
    (await structureFault(name, store)) ??
    (files === undefined ? undefined : await filesFault(info, store, files.damaged))
  )
}

async function structureFault(name: ChainId, { snapshots }: Store): Promise<string | undefined> {
  try {
    for (const layer of await snapshots.kept(name)) {
      if ((await stat(layer).catch(ignoreMissing)) === undefined) {
        return 'its files, or those of a layer below, are gone'
      }
    }
    return undefined
  } catch (error) {
    if (!hasCode(error, 'not-found')) throw error
    return 'a snapshot that it builds on is gone'
  }
}

/** Containers and mounted images, whose layers a prune would have kept. */
async function* checkUsers({ root, snapshots, letGo }: Store): AsyncGenerator<Finding> {
  for (const directory of ['containers', 'mounts']) {
    for (const name of await namesIn(join(root, directory))) {
      const path = join(directory, name)
      const parent = parentOf(join(root, path))
      if (parent === undefined || (await snapshots.find(parent)) !== undefined) continue
      // The container may have been removed, and then what it was built on.
      if (parentOf(join(root, path)) !== undefined) yield { kind: 'orphan', path, parent }
    }
    letGo()
  }
}

function parentOf(user: string): ChainId | undefined {
  const text = readOwnText(join(user, 'parent'))
  return text === undefined || text === '' ? undefined : parseChainId(text)
}

async function* checkRecords({ images, containers }: Store): AsyncGenerator<Finding> {
  for (const name of await images.unreadable()) {
    yield { kind: 'damaged-record', path: join('images', name) }
  }
  for (const { id, record } of await containers.list()) {
    if (record === undefined) {
      yield { kind: 'damaged-record', path: join('containers', id, 'record.json') }
    }
  }
}

async function* checkImage(image: ImageRecord, store: Store): AsyncGenerator<Finding> {
  // Removed meanwhile, or another has its name.
  if (!(await store.images.hold(image))) return
  try {
    for await (const node of walkImage(image.target, store.content)) {
      if (node.kind !== 'manifest') continue
      for (const layer of await missingLayers(node.value, store)) {
        yield { kind: 'missing-layer', image, layer }
      }
    }
  } catch (error) {
    if (!isDamage(error)) throw error
    yield { kind: 'damaged-image', image, reason: error.message }
  } finally {
    store.letGo()
  }
}

async function missingLayers(manifest: Manifest, store: Store): Promise<Descriptor[]> {
  const config = parseImageConfig(await store.content.read(manifest.config.digest))
  const chains = chainIds(config.value.rootfs.diff_ids)
  const missing: Descriptor[] = []
  for (const [i, layer] of manifest.layers.entries()) {
    if ((await store.content.find(layer.digest)) !== undefined) continue
    const chain = chains[i]
    const snapshot = chain === undefined ? undefined : await store.snapshots.find(chain)
    if (snapshot === undefined) missing.push(layer)
  }
  return missing
}

function isDamage(error: unknown): error is Error {
  const codes = ['not-found', 'invalid', 'digest-mismatch', 'too-large'] as const
  return codes.some(code => hasCode(error, code))
}
