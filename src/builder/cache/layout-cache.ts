/**
 * A cache in a directory: an OCI layout, with a cache under each tag of its index.
 *
 *   index.json   { manifests: [ { …, annotations: { "org.opencontainers.image.ref.name": tag } } ] }
 *   blobs/       what the caches consist of, and nothing else: it never grows without bound
 *
 * 1. The index is replaced last, whole; a build that is killed leaves the old cache.
 * 2. What no entry of the index leads to is removed after that, while nobody else writes.
 */
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  ignoreMissing,
  makeDirectory,
  namesIn,
  streamFileAtomic,
  sweepTemporaries,
  writeFileAtomic,
} from '../../layerfs/content/atomic-file.ts'
import { type BlobReader, maxDocumentSize, putBlob } from '../../layerfs/content/content-store.ts'
import { withLock } from '../../layerfs/content/file-lock.ts'
import { memoryStore } from '../../layerfs/content/memory-store.ts'
import { readRegularFile } from '../../layerfs/content/regular-file.ts'
import {
  blobPath,
  calledInLayout,
  digestOfPath,
  indexFile,
  layoutDocument,
  layoutFile,
  nameInLayout,
} from '../../layerfs/image/archive-layout.ts'
import { walkImage } from '../../layerfs/image/image-graph.ts'
import { layoutReader } from '../../layerfs/image/layout-reader.ts'
import { putDocument } from '../../layerfs/image/write-manifest.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { parseManifest } from '../../oci/manifest.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { firstOf } from '../../registry/client/registry-blobs.ts'
import { cacheConfigType, decodeCacheConfig, maxConfigSize } from './cache-config.ts'
import {
  type CachePlace,
  type CacheSource,
  cacheManifest,
  configIn,
  type OutgoingCache,
  type StoredCache,
  type WriteOptions,
} from './cache-place.ts'

export interface LayoutCache {
  readonly directory: string
  readonly tag: string
  /** Of what is read: this manifest instead of the tag's. */
  readonly digest?: Digest
  /** Of what is written: whether caches under other tags go. */
  readonly reset?: boolean
}

export function layoutCache(layout: LayoutCache): CachePlace {
  return {
    name: printable(layout.directory),
    read: () => read(layout),
    write: (cache, options) => write(layout, cache, options),
  }
}

async function read({ directory, tag, digest }: LayoutCache): Promise<StoredCache> {
  const entries = await entriesIn(directory)
  const entry = entries.find(one =>
    digest === undefined ? nameInLayout({ target: one }) === tag : one.digest === digest,
  )
  if (entry === undefined) {
    const wanted = digest ?? `tag "${tag}"`
    throw new OciError(
      'not-found',
      `Cannot find a cache in "${printable(directory)}": ${entries.length === 0 ? 'it is no OCI layout' : `no ${wanted}`}`,
    )
  }
  const blobs = layoutReader(directory)
  const document = parseManifest(await blobs.read(entry.digest), entry.mediaType).value
  const config = configIn(document)
  if (config === undefined) {
    throw new OciError(
      'invalid',
      `Cannot read "${printable(directory)}": ${entry.digest} is no cache`,
    )
  }
  const index = decodeCacheConfig(await blobs.read(config.digest, maxConfigSize))
  return { indexes: [index], source: sourceOf(blobs) }
}

function sourceOf(blobs: BlobReader): CacheSource {
  return {
    has: async ({ digest, size }) => (await blobs.find(digest))?.size === size,
    fetch: async (wanted, into, { onEvent, onBlob, signal }) => {
      for (const { digest, size } of wanted) {
        signal.throwIfAborted()
        await putBlob(into, blobs.open(digest), { digest, size })
        onEvent({ kind: 'blob-done', digest, total: size, direction: 'pull' })
        onBlob?.(digest)
      }
    },
    open: ({ digest }) => blobs.open(digest),
  }
}

/** None of a directory that is no layout yet. Throws `invalid` for an index that cannot be read. */
async function entriesIn(directory: string): Promise<readonly Descriptor[]> {
  const path = join(directory, indexFile)
  const bytes = await readRegularFile(path, maxDocumentSize).catch(ignoreMissing)
  if (bytes === undefined) return []
  const { value } = parseManifest(bytes, mediaTypes.index)
  return value.kind === 'index' ? value.manifests : []
}

async function write(
  { directory, tag, reset = false }: LayoutCache,
  { config: bytes, layers, from }: OutgoingCache,
  { form, onEvent, signal }: WriteOptions,
): Promise<Descriptor> {
  const documents = memoryStore()
  const config = await putDocument(bytes, cacheConfigType, documents)
  const manifest = cacheManifest({ layers, config }, form)
  const target = await putDocument(manifest.bytes, manifest.mediaType, documents)
  await makeDirectory(directory)
  const lock = join(directory, `${indexFile}.lock`)
  await withLock(lock, { mode: 'exclusive', signal }, async () => {
    const place = { directory, blobs: firstOf(documents, from), onEvent, signal }
    for (const blob of [...layers, config, target]) await writeBlob(blob, place)
    const others = reset ? [] : await entriesIn(directory)
    const kept = others.filter(one => nameInLayout({ target: one }) !== tag)
    await replaceEntries(directory, [...kept, calledInLayout(target, tag).target])
  })
  return target
}

interface WritePlace extends Pick<WriteOptions, 'onEvent' | 'signal'> {
  readonly directory: string
  readonly blobs: BlobReader
}

async function writeBlob(
  { digest, size: total }: Descriptor,
  { directory, blobs, onEvent, signal }: WritePlace,
): Promise<void> {
  if ((await layoutReader(directory).find(digest))?.size === total) {
    return onEvent({ kind: 'blob-exists', digest, total })
  }
  const path = join(directory, blobPath(digest))
  await makeDirectory(dirname(path))
  await streamFileAtomic(path, blobs.open(digest), { mode: 0o644, durability: 'whole', signal })
  onEvent({ kind: 'blob-done', digest, total, direction: 'push' })
}

/** An entry that cannot be read goes: nobody can use it, nor tell what it needs. */
async function replaceEntries(directory: string, entries: readonly Descriptor[]): Promise<void> {
  const live = new Map<Descriptor, ReadonlySet<Digest>>()
  for (const entry of entries) {
    const blobs = await blobsOf(directory, entry)
    if (blobs !== undefined) live.set(entry, blobs)
  }
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [...live.keys()] }
  await writeFileAtomic(join(directory, layoutFile), layoutDocument(), { mode: 0o644 })
  await writeFileAtomic(join(directory, indexFile), JSON.stringify(index), { mode: 0o644 })
  await removeOthers(directory, new Set([...live.values()].flatMap(blobs => [...blobs])))
}

/** Everything that an entry of the index leads to; `undefined` when it cannot be read. */
async function blobsOf(
  directory: string,
  entry: Descriptor,
): Promise<ReadonlySet<Digest> | undefined> {
  const live = new Set<Digest>()
  try {
    for await (const { descriptor } of walkImage(entry, layoutReader(directory))) {
      live.add(descriptor.digest)
    }
    return live
  } catch (error) {
    const codes = ['not-found', 'invalid', 'digest-mismatch', 'too-large'] as const
    if (codes.some(code => hasCode(error, code))) return undefined
    throw error
  }
}

async function removeOthers(directory: string, live: ReadonlySet<Digest>): Promise<void> {
  for (const algorithm of await namesIn(join(directory, 'blobs'))) {
    const place = join(directory, 'blobs', algorithm)
    await sweepTemporaries(place)
    for (const name of await namesIn(place)) {
      const digest = digestOfPath(`blobs/${algorithm}/${name}`)
      if (digest !== undefined && !live.has(digest)) await rm(join(place, name), { force: true })
    }
  }
}
