/**
 * What a source of a COPY looks like to `lstat`: its directories, listed, without those that nothing
 * is taken from. It costs a call for each file, and tells whether anything can have changed at all.
 */
import type { Hash } from 'node:crypto'
import { closeSync } from 'node:fs'
import { openAs } from '../../layerfs/layer/file-type.ts'
import { openWithoutLinks } from '../../layerfs/layer/open-in-root.ts'
import { safePath } from '../../layerfs/layer/path-bytes.ts'
import { type Listing, listingOf, listingOfOne } from '../../layerfs/native/listing.ts'
import { OciError } from '../../oci/errors.ts'
import type { SourceFilter } from './copy-filter.ts'
import {
  isDirectory,
  isGone,
  joinPath,
  type Located,
  type SourceTree,
  unreadable,
} from './source-tree.ts'

/** A directory, and what in it is to be gone into, by its place in the listing. */
export interface ListedDirectory {
  /** In the tree. */
  readonly path: Buffer
  /** Below the source; empty: the source itself. */
  readonly relative: Buffer
  readonly listing: Listing
  readonly inner: ReadonlyMap<number, InnerDirectory>
}

export interface InnerDirectory {
  /** `descend`: taken when something in it is. */
  readonly taken: 'keep' | 'descend'
  /** Absent: it vanished since its parent was listed. */
  readonly directory: ListedDirectory | undefined
}

/** The copy, the diff and whoever unpacks the layer take some memory or a descriptor per level. */
const maxDepth = 1000

interface Walk {
  readonly tree: SourceTree
  readonly filter: SourceFilter
  readonly signal: AbortSignal
}

/** What a source is: a directory, or a file alone as the only entry of its listing. */
export type ListedSource =
  | { readonly kind: 'directory'; readonly directory: ListedDirectory | undefined }
  | { readonly kind: 'file'; readonly file: Located; readonly listing: Listing }

/** Throws `unavailable` for a directory that may not be read. */
export function listSource(
  tree: SourceTree,
  source: Located,
  { filter, signal }: Omit<Walk, 'tree'>,
): ListedSource {
  const { path, stat } = source
  if (!isDirectory(stat)) {
    return { kind: 'file', file: source, listing: listingOfOne(path, stat) }
  }
  const top = { path, relative: Buffer.alloc(0), depth: 1 }
  return { kind: 'directory', directory: listDirectory(top, { tree, filter, signal }) }
}

interface Place {
  readonly path: Buffer
  readonly relative: Buffer
  readonly depth: number
}

function listDirectory({ path, relative, depth }: Place, walk: Walk): ListedDirectory | undefined {
  const { tree, filter, signal } = walk
  if (depth > maxDepth) {
    throw new OciError('too-large', `Cannot copy from ${tree.name}: more than ${maxDepth} levels`)
  }
  signal.throwIfAborted()
  const listing = readListing(tree, path)
  if (listing === undefined) return undefined
  const inner = new Map<number, InnerDirectory>()
  for (const index of listing.directories) {
    const name = listing.name(index)
    const below = joinPath(relative, name)
    const taken = filter(below.toString(), true)
    if (taken === 'drop') continue
    const place = { path: joinPath(path, name), relative: below, depth: depth + 1 }
    inner.set(index, { taken, directory: listDirectory(place, walk) })
  }
  return { path, relative, listing, inner }
}

/** None of a directory that vanished since it was found: a context may change under us (X08). */
export function readListing(tree: SourceTree, path: Uint8Array): Listing | undefined {
  try {
    const fd = openWithoutLinks(tree.fd, safePath(path), openAs.directory)
    try {
      return listingOf(fd)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (isGone(error)) return undefined
    throw unreadable(tree, path, error)
  }
}

/** Everything that `lstat` told. */
export function hashListings(source: ListedSource, hash: Hash): void {
  hash.update(`${source.kind}\n`)
  if (source.kind === 'file') hash.update(source.listing.bytes)
  else hashDirectory(source.directory, hash)
}

function hashDirectory(directory: ListedDirectory | undefined, hash: Hash): void {
  hash.update(directory === undefined ? 'gone\n' : `${directory.listing.bytes.length}\n`)
  if (directory === undefined) return
  hash.update(directory.listing.bytes)
  for (const [index, { taken, directory: inner }] of directory.inner) {
    hash.update(`${index} ${taken}\n`)
    hashDirectory(inner, hash)
  }
}

/** When anything in it changed last, in whole seconds since 1970. */
export function lastChange(source: ListedSource): number {
  if (source.kind === 'file') return source.listing.changed(0)
  return source.directory === undefined ? Number.NEGATIVE_INFINITY : lastIn(source.directory)
}

function lastIn({ listing, inner }: ListedDirectory): number {
  let last = listing.lastChange
  for (const { directory } of inner.values()) {
    if (directory !== undefined) last = Math.max(last, lastIn(directory))
  }
  return last
}
