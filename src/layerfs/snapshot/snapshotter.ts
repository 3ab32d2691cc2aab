/**
 * Snapshotter: filesystem states made of stacked layer directories.
 *
 * A snapshot is **active** (has a `key`; one owner writes to it) or **committed** (named by its
 * chain ID; never changes again). Its parent is always committed.
 *
 *   prepare ──► active ──commit──► committed ──remove──► gone
 *                 └────dispose────► gone
 *
 * Unpack an image of layers A, B:   stage() for A and B side by side → extract → commit(A, undefined)
 * → commit(B, chain(A)). Run a step: prepare(chain(B)) → mount → run → diff → commit under its new
 * chain ID. Look into an image: view(chain(B)).
 */
import type { ChainId, DiffId } from '../../oci/digest.ts'
import type { RootMount } from '../mount.ts'

export interface SnapshotInfo {
  readonly name: ChainId
  readonly parent?: ChainId
  readonly diffId: DiffId
}

/** Disposing it removes what was written, unless it was committed. */
export interface ActiveSnapshot extends AsyncDisposable {
  readonly key: string
  readonly parent?: ChainId
  /** The writable layer's directory: what a diff walks. */
  readonly upper: string
  /** The state as the kernel can mount it, writable. */
  readonly mount: RootMount
}

export interface Snapshotter {
  find(name: ChainId): Promise<SnapshotInfo | undefined>
  /** A writable state on top of `parent` (nothing: an empty root). Throws `not-found`. */
  prepare(parent: ChainId | undefined): Promise<ActiveSnapshot>
  /**
   * Names the active snapshot. Idempotent across processes: when `info.name` exists already, the
   * active one is removed and the existing one stands.
   */
  commit(active: ActiveSnapshot, info: SnapshotInfo): Promise<void>
  /** A read-only state. Throws `not-found`. */
  view(name: ChainId): Promise<RootMount>
  /** Layer directories of `name`, **top first**. Throws `not-found`. */
  layers(name: ChainId): Promise<string[]>
  remove(name: ChainId): Promise<void>
  list(): AsyncIterable<SnapshotInfo>
}
