/**
 * The keys of a folder in the order of their bytes, as a bucket lists them.
 *
 * A directory sorts as its name with a `/`: `a-b` comes before everything in `a/`, because `-` is
 * below `/`. Symbolic links and other special files are no objects and are never followed.
 */
import { join } from 'node:path'
import { hasCode } from '../../../oci/errors.ts'
import type { DirectoryCache, SortedNames } from './directory-cache.ts'

export interface Listing {
  readonly root: string
  readonly directories: DirectoryCache
  /** Ends in `/`. */
  readonly prefix: string
  readonly startAfter: string
  readonly max: number
}

export async function listKeys(listing: Listing): Promise<string[]> {
  const found: string[] = []
  await walk(listing, listing.prefix, found)
  return found
}

async function walk(listing: Listing, prefix: string, found: string[]): Promise<void> {
  const names = await namesOf(listing, prefix)
  for (let i = firstAfter(names, prefix, listing.startAfter); i < names.length; i++) {
    if (found.length === listing.max) return
    const key = prefix + names[i]
    if (key.endsWith('/')) await walk(listing, key, found)
    else found.push(key)
  }
}

/** Where the keys begin that come after `startAfter`; a directory that is part of it is looked into. */
function firstAfter(names: SortedNames, prefix: string, startAfter: string): number {
  let low = 0
  let high = names.length
  while (low < high) {
    const middle = (low + high) >> 1
    const key = prefix + names[middle]
    const isBefore = key <= startAfter && !(key.endsWith('/') && startAfter.startsWith(key))
    if (isBefore) low = middle + 1
    else high = middle
  }
  return low
}

async function namesOf(listing: Listing, prefix: string): Promise<SortedNames> {
  try {
    return await listing.directories.names(join(listing.root, prefix))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
