/**
 * A cache in a repository: a manifest of its own, or records that images carry in their configs.
 */
import { memoryStore } from '../../layerfs/content/memory-store.ts'
import { putDocument } from '../../layerfs/image/write-manifest.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { digestOf } from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import { type Index, type Manifest, selectManifest } from '../../oci/manifest.ts'
import { isImageConfig } from '../../oci/media-type.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import { fetchBlob } from '../../registry/client/blob.ts'
import type { RegistryClient } from '../../registry/client/client.ts'
import { pushDocument } from '../../registry/client/push.ts'
import { firstOf } from '../../registry/client/registry-blobs.ts'
import { resolveReference } from '../../registry/client/resolve.ts'
import { hasBlob } from '../../registry/client/upload.ts'
import { registrySource } from '../registry-source.ts'
import {
  type CacheIndex,
  cacheConfigType,
  decodeCacheConfig,
  decodeInlineRecords,
  maxConfigSize,
} from './cache-config.ts'
import {
  type CachePlace,
  type CacheSource,
  cacheManifest,
  configIn,
  type OutgoingCache,
  type ReadOptions,
  type WriteOptions,
} from './cache-place.ts'
import { inlineMember } from './inline-cache.ts'

export function registryCache(client: RegistryClient, reference: Reference): CachePlace {
  const place = { client, reference }
  const source: CacheSource = {
    ...registrySource(client, reference),
    has: (descriptor, signal) => hasBlob(client, reference, { descriptor, access: 'pull', signal }),
  }
  return {
    name: formatReference(reference),
    read: async options => ({ indexes: await readIndexes(place, options), source }),
    write: (cache, options) => write(place, cache, options),
  }
}

interface Place {
  readonly client: RegistryClient
  readonly reference: Reference
}

async function readIndexes(place: Place, options: ReadOptions): Promise<CacheIndex[]> {
  const { client, reference } = place
  const { signal } = options
  const { value } = (await resolveReference(client, reference, { signal })).document
  const config = configIn(value)
  if (config !== undefined) return [decodeCacheConfig(await readBlob(place, config, signal))]
  const manifests = value.kind === 'manifest' ? [value] : await imagesIn(place, value, options)
  const indexes: CacheIndex[] = []
  for (const manifest of manifests) indexes.push(...(await inlineIndex(place, manifest, signal)))
  if (indexes.length > 0) return indexes
  throw new OciError('not-found', `Cannot find a cache in "${formatReference(reference)}"`, {
    hint: 'an image has one when it was built with --cache-to type=inline',
  })
}

/** Those for our platforms; a platform that the index lacks has no cache. */
async function imagesIn(
  { client, reference: { registry, repository } }: Place,
  index: Index,
  { platforms, signal }: ReadOptions,
): Promise<Manifest[]> {
  const wanted = new Set(
    platforms.flatMap(platform => {
      try {
        return [selectManifest(index, platform).digest]
      } catch (error) {
        if (hasCode(error, 'not-found')) return []
        throw error
      }
    }),
  )
  const manifests: Manifest[] = []
  for (const digest of wanted) {
    const resolved = await resolveReference(client, { registry, repository, digest }, { signal })
    const { value } = resolved.document
    if (value.kind === 'manifest') manifests.push(value)
  }
  return manifests
}

async function inlineIndex(
  place: Place,
  { config, layers }: Manifest,
  signal: AbortSignal,
): Promise<CacheIndex[]> {
  if (!isImageConfig(config.mediaType)) return []
  const { extra, rootfs } = parseImageConfig(await readBlob(place, config, signal)).value
  const records = extra?.[inlineMember]
  if (typeof records !== 'string' || layers.length !== rootfs.diff_ids.length) return []
  const stack = rootfs.diff_ids.flatMap((diffId, index) => {
    const descriptor = layers[index]
    return descriptor === undefined ? [] : [{ diffId, descriptor }]
  })
  return [decodeInlineRecords(records, stack)]
}

async function readBlob(
  { client, reference }: Place,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (descriptor.size > maxConfigSize) {
    throw new OciError('too-large', `Cannot read a cache of ${descriptor.size} bytes of records`)
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of fetchBlob(client, reference, { descriptor, signal })) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function write(
  { client, reference }: Place,
  { config: bytes, layers, from, mountFrom }: OutgoingCache,
  { form, onEvent, signal }: WriteOptions,
): Promise<Descriptor> {
  const documents = memoryStore()
  const config = await putDocument(bytes, cacheConfigType, documents)
  const document = cacheManifest({ layers, config }, form)
  await pushDocument(client, reference, {
    document,
    blobs: [...layers, config],
    from: firstOf(documents, from),
    mountFrom: mountFrom(reference.registry),
    onEvent,
    signal,
  })
  const digest = digestOf(document.bytes)
  return { mediaType: document.mediaType, digest, size: document.bytes.byteLength }
}
