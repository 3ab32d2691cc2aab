/** Places that keep caches: a repository, a directory, a bucket. */
import type { BlobReader } from '../../layerfs/content/content-store.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import type { Platform } from '../../oci/platform.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { OnTransfer } from '../../registry/client/transfer-event.ts'
import type { BlobSource } from '../filesystems.ts'
import { type CacheIndex, cacheConfigType } from './cache-config.ts'

export interface CachePlace {
  /** For people: `registry.example.com/app:cache`. */
  readonly name: string
  /**
   * What is there. Throws `not-found` when nothing is, `invalid` and `too-large` for what is no
   * cache, and what its transport throws.
   */
  read(options: ReadOptions): Promise<StoredCache>
  /** Replaces what is there, at once. Throws what its transport throws; the old cache then stays. */
  write(cache: OutgoingCache, options: WriteOptions): Promise<Descriptor>
}

export interface ReadOptions {
  /** Whose images may carry the cache in themselves. */
  readonly platforms: readonly Platform[]
  readonly signal: AbortSignal
}

export interface StoredCache {
  readonly indexes: readonly CacheIndex[]
  readonly source: CacheSource
}

export interface CacheSource extends BlobSource {
  /** Whether the blob can be had: a place may lose some of what its document names. */
  has(blob: Descriptor, signal: AbortSignal): Promise<boolean>
}

export interface OutgoingCache {
  readonly config: Uint8Array
  /** Those that have to be there. */
  readonly layers: readonly Descriptor[]
  /** Has all of them. */
  readonly from: BlobReader
  /** Per blob, repositories of that registry that have it. */
  mountFrom(registry: string): ReadonlyMap<Digest, readonly RepositoryName[]>
}

export interface WriteOptions {
  readonly form: ManifestForm
  readonly onEvent: OnTransfer
  readonly signal: AbortSignal
}

/** `list`: what BuildKit wrote before registries took manifests with configs of other kinds. */
export interface ManifestForm {
  readonly kind: 'image' | 'list'
  readonly types: 'oci' | 'docker'
}

/** The manifest, or list, that names a cache's config and layers. */
export function cacheManifest(
  { layers, config }: { readonly layers: readonly Descriptor[]; readonly config: Descriptor },
  { kind, types }: ManifestForm,
): { readonly mediaType: string; readonly bytes: Uint8Array } {
  const index = types === 'oci' ? mediaTypes.index : mediaTypes.dockerIndex
  const mediaType = kind === 'list' ? index : mediaTypes.manifest
  const members = kind === 'list' ? { manifests: [...layers, config] } : { config, layers }
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...members }))
  return { mediaType, bytes }
}

/** The config's descriptor in a manifest or list, if it is a cache's. */
export function configIn(document: {
  readonly config?: Descriptor
  readonly manifests?: readonly Descriptor[]
}): Descriptor | undefined {
  const candidates = [
    ...(document.config === undefined ? [] : [document.config]),
    ...(document.manifests ?? []),
  ]
  return candidates.find(({ mediaType }) => mediaType === cacheConfigType)
}
