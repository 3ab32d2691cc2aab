/**
 * Snapshotter: filesystem states made of stacked layer directories.
 *
 * A snapshot is **active** (has a `key`; one owner writes to it) or **committed** (named by its
 * chain ID; never changes again). Its parent is always committed.
 *
 *   prepare ──► active ──commit──► committed ──remove──► gone
 *   stage   ──►   └────dispose────► gone
 *
 * 1. A committed snapshot never changes, and all its ancestors are committed.
 * 2. A snapshot is committed whole or not at all; of several commits under one name the first one
 *    stands.
 * 3. An active snapshot that is disposed without a commit, or whose process dies, leaves nothing.
 *
 * Unpack an image of layers A, B:   stage() for A and B side by side → extract → commit(A, undefined)
 * → commit(B, chain(A)). Run a step: prepare(chain(B)) → mount → run → diff → commit under its new
 * chain ID. Look into an image: view(chain(B)).
 */
import type { ChainId, DiffId } from '../../oci/digest.ts'
import type { RootMount } from '../mount.ts'

export interface SnapshotInfo {
  /** The chain ID of `parent` and `diffId`. */
  readonly name: ChainId
  readonly parent?: ChainId
  readonly diffId: DiffId
  /** The time, in seconds, that no file of the layer's tar is later than, though the files are. */
  readonly clampTo?: number
  /** The layer's tar has all of its directory, also what is the same below: `COPY --link`. */
  readonly whole?: boolean
}

/** Of the directories below the layer, those that its tar is the difference to. */
export function comparedWith(
  { whole }: Pick<SnapshotInfo, 'whole'>,
  lower: readonly string[],
): readonly string[] {
  return whole === true ? [] : lower
}

/** A layer being written. Disposing it removes what was written, unless it was committed. */
export interface UncommittedLayer extends AsyncDisposable {
  readonly key: string
}

/** One that is kept as its tar until somebody asks for its directory: see packed-layer.ts. */
export interface PackedLayer extends UncommittedLayer {
  /** Where the tar goes. */
  readonly tar: string
}

/** A layer directory being filled. */
export interface StagedLayer extends UncommittedLayer {
  /** The layer's directory: what a layer is applied to and a diff walks. */
  readonly upper: string
}

/** A staged layer on top of a parent. */
export interface ActiveSnapshot extends StagedLayer {
  readonly parent?: ChainId
  /** The directories of the layers below it that have anything, **top first**. */
  readonly lower: readonly string[]
  /** The state as the kernel can mount it, writable. */
  readonly mount: RootMount
  /** To be called when all is written, before `upper` is read: then it has what was written. */
  record(): void
}

export interface Snapshotter {
  find(name: ChainId): Promise<SnapshotInfo | undefined>
  /** A writable state on top of `parent` (nothing: an empty root). Throws `not-found`. */
  prepare(parent: ChainId | undefined): Promise<ActiveSnapshot>
  /** An empty layer directory whose parent is only known, or committed, later. */
  stage(): Promise<StagedLayer>
  /** The same for a layer whose directory may never be needed. */
  stagePacked(): Promise<PackedLayer>
  /**
   * Names the layer; it must not be mounted any more. Idempotent across processes: when
   * `info.name` exists already, the active one is removed and the existing one stands. Throws
   * `not-found` when `info.parent` is not committed; the active one is then still to be disposed.
   */
  commit(active: UncommittedLayer, info: SnapshotInfo): Promise<void>
  /** A read-only state. Throws `not-found`. */
  view(name: ChainId): Promise<RootMount>
  /** Layer directories of `name`, **top first**: all, also those that are empty. Throws `not-found`. */
  layers(name: ChainId): Promise<readonly string[]>
  /** The same as they are now: of one that is packed, and that nobody asked for, the tar. */
  kept(name: ChainId): Promise<readonly string[]>
  /** The tar of the topmost layer, where that is kept. Throws `not-found`. */
  packedTar(name: ChainId): Promise<string | undefined>
  /**
   * Idempotent. Throws `conflict` while another snapshot, committed or active, builds on it. For
   * who collects (leases.ts), and knows that nobody holds it.
   */
  remove(name: ChainId): Promise<void>
  list(): AsyncIterable<SnapshotInfo>
}
