/** Directories on the way of a copy: one of the source, and the one that it goes to. */
import { closeSync } from 'node:fs'
import { type Listing, listingOf, typesOf } from '../native/listing.ts'
import type { Found } from './compare-files.ts'
import type { CopyOptions } from './copy-options.ts'
import { needsOnlyTypes } from './copy-plain-files.ts'
import { LazyDirectory } from './lazy-directory.ts'
import { rootPath, type SafePath } from './path-bytes.ts'
import { findAt } from './walk-in-root.ts'

/** A directory of the destination. */
export interface Target {
  /** Below the directory that the copy goes to. */
  readonly path: SafePath
  readonly directory: LazyDirectory
  /** Once everything is in it. */
  finish(): void
}

/** `fd` stays the caller's. */
export function openTarget(fd: number): Target {
  return { path: rootPath, directory: LazyDirectory.of(fd), finish: () => {} }
}

/** A directory that is being copied. */
export interface Frame {
  readonly sourceFd: number
  readonly listing: Listing
  /** The listing has types alone: most files are looked at as they are copied. */
  readonly hasTypes: boolean
  next: number
  readonly target: Target
  /** What became of each entry already: a `copyStatus`. */
  copied?: Uint8Array | undefined
}

/** `undefined`: it vanished since the directory was listed. */
export function foundIn(
  { sourceFd: fd, listing, hasTypes }: Frame,
  index: number,
): Found | undefined {
  const name = listing.latin1(index)
  const stat = hasTypes ? findAt(fd, name) : listing.stat(index)
  return stat === undefined ? undefined : { fd, name, stat }
}

export function finish({ sourceFd, target }: Frame): void {
  closeSync(sourceFd)
  target.finish()
}

/** Closes `sourceFd` when it is done. */
export function frameOf(
  sourceFd: number,
  { target, options }: { readonly target: Target; readonly options: CopyOptions },
): Frame {
  const hasTypes = needsOnlyTypes(options)
  const listing = hasTypes ? typesOf(sourceFd) : listingOf(sourceFd)
  return { sourceFd, listing, hasTypes, next: 0, target }
}
