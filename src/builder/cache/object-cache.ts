/**
 * A cache in a bucket: `--cache-to type=s3`.
 *
 *   <prefix>/blobs/<digest>      layers; a blob that is there is never written again
 *   <prefix>/manifests/<name>    the document of the cache of that name
 *
 * The document is written last, so what it names is there, unless a rule of the bucket removed it:
 * see {@link CacheSource.has}. Nothing is removed here: buckets have rules for what is old.
 */
import { putBlob } from '../../layerfs/content/content-store.ts'
import { verified } from '../../layerfs/content/verified.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { digestOf } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { parallel } from '../../registry/client/parallel.ts'
import type { ObjectStore } from '../../registry/storage/object-store.ts'
import { cacheConfigType, decodeCacheConfig, maxConfigSize } from './cache-config.ts'
import type {
  CachePlace,
  CacheSource,
  OutgoingCache,
  StoredCache,
  WriteOptions,
} from './cache-place.ts'

export interface ObjectCache {
  /** `s3://bucket/prefix` */
  readonly place: string
  /** Caches of a build: all are written, and all are read. */
  readonly names: readonly string[]
  /** Opened when it is first needed. */
  readonly open: () => Promise<ObjectStore>
  readonly blobsPrefix: string
  readonly manifestsPrefix: string
  /** Blobs at a time. */
  readonly parallelism: number
}

export function objectCache(cache: ObjectCache): CachePlace {
  return {
    name: `${cache.place}:${cache.names.join(';')}`,
    read: () => read(cache),
    write: (outgoing, options) => write(cache, outgoing, options),
  }
}

async function read(cache: ObjectCache): Promise<StoredCache> {
  const objects = await cache.open()
  const indexes = []
  for (const name of cache.names) {
    const key = `${cache.manifestsPrefix}${name}`
    const size = await objects.size(key)
    if (size === undefined) continue
    if (size > maxConfigSize) {
      throw new OciError('too-large', `Cannot read a cache of ${size} bytes of records`)
    }
    const document = await objects.get(key)
    if (document !== undefined) indexes.push(decodeCacheConfig(document.bytes))
  }
  if (indexes.length === 0) {
    const names = printable(cache.names.join(', '))
    throw new OciError('not-found', `Cannot find a cache in ${printable(cache.place)}: no ${names}`)
  }
  return { indexes, source: sourceOf(cache, objects) }
}

function sourceOf(
  { place, blobsPrefix, parallelism }: ObjectCache,
  objects: ObjectStore,
): CacheSource {
  const keyOf = ({ digest }: Descriptor) => `${blobsPrefix}${digest}`
  async function* open(blob: Descriptor): AsyncGenerator<Uint8Array> {
    const bytes = await objects.open(keyOf(blob))
    yield* verified(bytes, blob, `Cannot read blob ${blob.digest} in ${printable(place)}`)
  }
  return {
    open,
    has: async blob => (await objects.size(keyOf(blob))) === blob.size,
    fetch: (blobs, into, { onEvent, onBlob, signal }) =>
      parallel(blobs, { limit: parallelism, signal }, async blob => {
        const { digest, size } = blob
        await putBlob(into, open(blob), { digest, size })
        onEvent({ kind: 'blob-done', digest, total: size, direction: 'pull' })
        onBlob?.(digest)
      }),
  }
}

async function write(
  cache: ObjectCache,
  { config, layers, from }: OutgoingCache,
  { onEvent, signal }: WriteOptions,
): Promise<Descriptor> {
  const objects = await cache.open()
  await parallel(layers, { limit: cache.parallelism, signal }, async (blob, stop) => {
    const { digest, size: total } = blob
    const key = `${cache.blobsPrefix}${digest}`
    if ((await objects.size(key)) === total) return onEvent({ kind: 'blob-exists', digest, total })
    await writeObject(objects, { key, size: total, chunks: from.open(digest), signal: stop })
    onEvent({ kind: 'blob-done', digest, total, direction: 'push' })
  })
  for (const name of cache.names) await objects.put(`${cache.manifestsPrefix}${name}`, config)
  return { mediaType: cacheConfigType, digest: digestOf(config), size: config.byteLength }
}

interface NewObject {
  readonly key: string
  readonly size: number
  readonly chunks: AsyncIterable<Uint8Array>
  readonly signal: AbortSignal
}

async function writeObject(
  objects: ObjectStore,
  { key, size, chunks, signal }: NewObject,
): Promise<void> {
  await using append = await objects.append(key, undefined, { size })
  for await (const chunk of chunks) {
    signal.throwIfAborted()
    await append.write([chunk])
  }
  await append.complete()
}
