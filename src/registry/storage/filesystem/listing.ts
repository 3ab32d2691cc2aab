/**
 * The keys of a folder in the order of their bytes, as a bucket lists them.
 *
 * A directory sorts as its name with a `/`: `a-b` comes before everything in `a/`, because `-` is
 * below `/`. Symbolic links and other special files are no objects and are never followed.
 */
import type { Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../../../oci/errors.ts'

export interface Listing {
  readonly root: string
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
  for (const name of sortedNames(await entriesOf(join(listing.root, prefix)))) {
    if (found.length === listing.max) return
    const key = prefix + name
    if (name.endsWith('/')) {
      if (mayHoldLaterKeys(key, listing.startAfter)) await walk(listing, key, found)
    } else if (key > listing.startAfter) {
      found.push(key)
    }
  }
}

/** Whether a key under `directory` can come after `startAfter`. */
function mayHoldLaterKeys(directory: string, startAfter: string): boolean {
  return directory > startAfter || startAfter.startsWith(directory)
}

function sortedNames(entries: readonly Dirent[]): string[] {
  const names: string[] = []
  for (const entry of entries) {
    if (entry.isFile()) names.push(entry.name)
    else if (entry.isDirectory()) names.push(`${entry.name}/`)
  }
  return names.sort()
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
