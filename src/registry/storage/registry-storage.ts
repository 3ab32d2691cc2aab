/** What the functions of this folder work on: the objects, and what this process knows besides. */
import type { LiveUploads } from './live-uploads.ts'
import { createLiveUploads } from './live-uploads.ts'
import type { ObjectStore } from './object-store.ts'

export interface StoragePolicy {
  /**
   * Whether a manifest may name blobs and manifests that the repository does not have: sparse
   * indexes and images are `accept`ed by default, as the conformance suite asks.
   */
  readonly missingReferences: 'accept' | 'refuse'
}

export interface RegistryStorage {
  readonly objects: ObjectStore
  readonly uploads: LiveUploads
  readonly policy: StoragePolicy
  readonly now: () => Date
}

export interface StorageOptions extends Partial<StoragePolicy> {
  readonly now?: () => Date
}

export function createRegistryStorage(
  objects: ObjectStore,
  options: StorageOptions = {},
): RegistryStorage {
  return {
    objects,
    uploads: createLiveUploads(),
    policy: { missingReferences: options.missingReferences ?? 'accept' },
    now: options.now ?? (() => new Date()),
  }
}
