/**
 * TreeFormat: the three ways in which a layer's entries can come to lie in a directory. They differ
 * in how something below is hidden; placing the entries themselves is the same for all.
 *
 *   layer    the directory holds this layer alone; overlayfs lays it over others   layer-format.ts
 *   merged   the directory is an overlay: everything is seen, the kernel hides     flat-format.ts
 *   flat     a plain directory with the layers below already in it                 flat-format.ts
 */
import type { TarEntry, TarTime } from '../tar/entry.ts'
import type { SafePath } from './path-bytes.ts'

/** A name in an open directory, and the path it stands for. */
export interface Spot {
  readonly fd: number
  /** Latin-1. */
  readonly name: string
  readonly path: SafePath
}

export interface TreeFormat {
  /** Hides what lower layers have at `path`, never what this layer has there (row A3). */
  whiteout(path: SafePath): void
  /** Hides what lower layers have in the directory `path` (row A5). */
  opaque(path: SafePath): void
  /** All entries are placed. */
  onLastEntry(): void
  /** An entry, or a directory that one needed, now stands at `spot`. */
  onPlaced(spot: Spot): void
  /** A directory was created that no entry described. */
  onImplied(path: SafePath, time: TarTime): void
  /** A directory took the place of something else of this layer: nothing below shows through. */
  onReplacedByDirectory(spot: Spot): void
  /** What stood at `path` is gone, with all below it if it was a directory. */
  onRemoved(path: SafePath, kind: 'directory' | 'other'): void
  /** A directory had to be created below a link of this layer (row A12). */
  onImpliedBelowLink(): void
  /** Whether what stands at `spot` is content: a whiteout is not. */
  isContent(spot: Spot): boolean
  /** Creates the device 0:0, which overlayfs takes for a whiteout (row A24). */
  createNullDevice(spot: Spot, entry: TarEntry): void
  /** How an attribute from the tar is stored; `undefined`: not at all. */
  storedXattr(name: Buffer): Buffer | undefined
  /** Whether {@link onPlaced} is told also of a plain file that took nothing's place. */
  readonly wantsEachFile: boolean
  /** Whether directories that were there before keep their times when entries go into them. */
  readonly keepsTimes: boolean
}
