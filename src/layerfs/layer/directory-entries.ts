/** What is in a directory that is open. */
import { closeSync } from 'node:fs'
import type { Listing } from '../native/listing.ts'
import { syscalls } from '../native/syscalls.ts'
import type { Found } from './compare-files.ts'
import { openListing } from './remove-tree.ts'
import { findAt } from './walk-in-root.ts'

/** In the kernel's order, one character a byte. Reads `listing` to its end: see openListing(). */
export function namesOf(listing: number): string[] {
  return syscalls()
    .readdir(listing)
    .map(({ name }) => name.toString('latin1'))
}

/** The same through a descriptor that cannot be read itself, or is to be read again. */
export function namesIn(dirFd: number): string[] {
  const listing = openListing(dirFd, '.')
  try {
    return namesOf(listing)
  } finally {
    closeSync(listing)
  }
}

/** An entry of what `fd` was listed as. */
export function foundIn(fd: number, listing: Listing, index: number): Found {
  return { fd, name: listing.latin1(index), stat: listing.stat(index) }
}

/** All of them, sorted by bytes. */
export function allIn(fd: number, listing: Listing): Found[] {
  return Array.from({ length: listing.length }, (_, index) => foundIn(fd, listing, index))
}

/** `undefined` where nothing has the name. */
export function foundAt(fd: number, name: string): Found | undefined {
  const stat = findAt(fd, name)
  return stat === undefined ? undefined : { fd, name, stat }
}
