/** What the functions of this folder share, and what they tell of what they do. */
import { LRUCache } from 'lru-cache'
import type { Digest } from '../../../oci/digest.ts'
import { hasCode } from '../../../oci/errors.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import type { Repository } from '../../client/request.ts'
import type { RegistryStorage } from '../../storage/registry-storage.ts'
import { isShortage } from '../reply.ts'
import { Trouble, type Upstream } from './upstream.ts'

/** A repository here, and where it is pulled from. */
export interface Place {
  readonly upstream: Upstream
  readonly repository: RepositoryName
  readonly remote: Repository
}

export type ContentKind = 'blob' | 'manifest'

export interface Served {
  readonly kind: ContentKind
  /** `hit`: without asking the upstream for it; `stale`: a copy that could not be checked. */
  readonly how: 'hit' | 'miss' | 'stale'
  /** Of the reply's body. */
  readonly bytes: number
}

export interface Copied {
  readonly kind: ContentKind
  readonly upstream: string
  readonly repository: string
  readonly digest: Digest
  readonly tag?: string | undefined
  readonly size: number
}

export interface Failed {
  readonly upstream: string
  readonly repository: string
  /** What was asked for: a tag, a digest, a list. */
  readonly name: string
  readonly error: unknown
  /** Whether clients got a copy instead. */
  readonly hasCopy: boolean
}

/** Told of what happens; each for the log, the metrics or both. */
export interface Reports {
  served(served: Served): void
  /** Something of an upstream is stored here now. */
  copied(copied: Copied): void
  /** A tag went because the upstream has it no more. */
  dropped(dropped: Omit<Copied, 'digest' | 'size' | 'kind'>): void
  failed(failed: Failed): void
  /** The storage took no copy: clients got what they asked for all the same. */
  notKept(error: unknown): void
}

export interface Through {
  readonly storage: RegistryStorage
  readonly reports: Reports
  /** What upstreams said they have not, by {@link missKey}; each for the upstream's time. */
  readonly misses: LRUCache<string, true>
  /** Sizes of blobs, from the manifests that name them. */
  readonly sizes: LRUCache<Digest, number>
  /** Whether copies may be stored now. */
  mayKeep(): boolean
  /** The storage refused a copy: for some time none is offered. */
  cannotKeep(error: unknown): void
  /** Aborts when the registry stops. */
  readonly signal: AbortSignal
}

export interface ThroughOptions {
  readonly storage: RegistryStorage
  readonly reports: Reports
  /** Whether nothing may be changed; default: never. */
  readonly isReadOnly?: (() => boolean) | undefined
}

export function createThrough(options: ThroughOptions, signal: AbortSignal): Through {
  const { storage, reports, isReadOnly = () => false } = options
  const shortage = new Trouble(() => storage.now().getTime())
  return {
    storage,
    reports,
    misses: new LRUCache({ max: 10_000 }),
    sizes: new LRUCache({ max: 50_000 }),
    mayKeep: () => shortage.current === undefined && !isReadOnly(),
    cannotKeep: error => {
      shortage.begin(error, 30_000)
      reports.notKept(error)
    },
    signal,
  }
}

export function missKey(place: Place, name: string): string {
  return `${place.repository} ${name}`
}

/** Whether a failure is of our own storage, and one that passes. */
export function isOfStorage(error: unknown): boolean {
  return isShortage(error) || hasCode(error, 'unavailable')
}
