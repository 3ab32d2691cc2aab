/** What the functions of this folder work on: the objects, and what this process knows besides. */
import { randomUUID } from 'node:crypto'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { createGuesses, type Guesses } from './ask-ahead.ts'
import { type Confirmed, createConfirmed } from './confirmed.ts'
import { KeyedMutex } from './keyed-mutex.ts'
import type { LiveUploads } from './live-uploads.ts'
import { createLiveUploads } from './live-uploads.ts'
import type { ObjectStore } from './object-store.ts'
import { createSmallBlobs, type SmallBlobs } from './small-blobs.ts'

export interface StoragePolicy {
  /**
   * Whether a manifest may name blobs and manifests that the repository does not have: sparse
   * indexes and images are `accept`ed by default, as the conformance suite asks.
   */
  readonly missingReferences: 'accept' | 'refuse'
  /** Tags that are set once and stay: none by default. */
  readonly isImmutable: (repository: RepositoryName, tag: Tag) => boolean
  /** Of the blobs that are sent whole, the part that is hashed on the way out, 0 to 1. */
  readonly verifyReads: number
}

export interface RegistryStorage {
  readonly objects: ObjectStore
  readonly uploads: LiveUploads
  /** Keeps pushes of one manifest, in this process, from undoing each other's last step. */
  readonly pushes: KeyedMutex
  readonly policy: StoragePolicy
  readonly confirmed: Confirmed
  /** Absent where a question takes less than asking it in vain. */
  readonly guesses?: Guesses
  /** Absent as well where a question costs little. */
  readonly smallBlobs?: SmallBlobs
  readonly now: () => Date
  /** A name that nothing has had before. */
  readonly newId: () => string
}

export interface StorageOptions extends Partial<StoragePolicy> {
  readonly now?: () => Date
  readonly newId?: () => string
}

export function createRegistryStorage(
  objects: ObjectStore,
  options: StorageOptions = {},
): RegistryStorage {
  return {
    objects,
    uploads: createLiveUploads(),
    pushes: new KeyedMutex(),
    confirmed: createConfirmed(),
    policy: {
      missingReferences: options.missingReferences ?? 'accept',
      isImmutable: options.isImmutable ?? (() => false),
      verifyReads: options.verifyReads ?? 0,
    },
    ...(objects.isFar === true ? { guesses: createGuesses(), smallBlobs: createSmallBlobs() } : {}),
    now: options.now ?? (() => new Date()),
    newId: options.newId ?? randomUUID,
  }
}
