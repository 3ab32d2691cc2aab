/**
 * Check: reads the whole store and says what is wrong with it, changing nothing.
 */
import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { Descriptor } from '../../oci/descriptor.ts'
import { algorithmOf, type ChainId, chainIds, type Digest, finishDigest } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import type { Manifest } from '../../oci/manifest.ts'
import { ignoreMissing } from '../content/atomic-file.ts'
import type { BlobInfo } from '../content/content-store.ts'
import type { Store } from '../store.ts'
import { walkImage } from './image-graph.ts'
import type { ImageRecord } from './image-store.ts'

export type Finding =
  /** The bytes are not those that the digest names. */
  | { readonly kind: 'damaged-blob'; readonly blob: BlobInfo }
  /** A document that cannot be read, or that is missing. */
  | { readonly kind: 'damaged-image'; readonly image: ImageRecord; readonly reason: string }
  /** The layer is neither there as a blob nor unpacked. */
  | { readonly kind: 'missing-layer'; readonly image: ImageRecord; readonly layer: Descriptor }
  /** Its directory, or a snapshot that it builds on, is gone. */
  | { readonly kind: 'damaged-snapshot'; readonly name: ChainId; readonly reason: string }

/** What a base image was never pulled for is `missing-layer` too: it is fetched when needed. */
export async function* checkStore(store: Store): AsyncGenerator<Finding> {
  yield* checkBlobs(store)
  yield* checkSnapshots(store)
  for (const image of await store.images.list()) yield* checkImage(image, store)
}

async function* checkBlobs({ content }: Store): AsyncGenerator<Finding> {
  for await (const blob of content.list()) {
    const found = await digestOfBlob(blob.digest, content)
    // One that was removed meanwhile is not damaged.
    if (found !== undefined && found !== blob.digest) yield { kind: 'damaged-blob', blob }
  }
}

async function digestOfBlob(
  digest: Digest,
  content: Store['content'],
): Promise<Digest | undefined> {
  const hash = createHash(algorithmOf(digest))
  try {
    for await (const chunk of content.open(digest)) hash.update(chunk)
  } catch (error) {
    if (hasCode(error, 'not-found')) return undefined
    throw error
  }
  return finishDigest(hash, algorithmOf(digest))
}

async function* checkSnapshots({ snapshots }: Store): AsyncGenerator<Finding> {
  for await (const { name } of snapshots.list()) {
    try {
      const [top = ''] = await snapshots.layers(name)
      const isThere = (await stat(top).catch(ignoreMissing)) !== undefined
      if (!isThere) yield { kind: 'damaged-snapshot', name, reason: 'its files are gone' }
    } catch (error) {
      if (!hasCode(error, 'not-found')) throw error
      yield { kind: 'damaged-snapshot', name, reason: 'a snapshot that it builds on is gone' }
    }
  }
}

async function* checkImage(image: ImageRecord, store: Store): AsyncGenerator<Finding> {
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
