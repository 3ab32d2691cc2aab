/** What is in a directory that is open. */
import { closeSync } from 'node:fs'
import { listingOf } from '../native/listing.ts'
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

/** All of them, sorted by bytes, as they are now. */
export function foundIn(fd: number): Found[] {
  const listing = listingOf(fd)
  return Array.from({ length: listing.length }, (_, index) => ({
    fd,
    name: listing.name(index).toString('latin1'),
    stat: listing.stat(index),
  }))
}

/** `undefined` where nothing has the name. */
export function foundAt(fd: number, name: string): Found | undefined {
  const stat = findAt(fd, name)
  return stat === undefined ? undefined : { fd, name, stat }
}
