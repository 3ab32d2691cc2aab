/** Removing what stands at a name, never through a link. */
import { closeSync, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { hasCode } from '../../oci/errors.ts'
import { Descent } from '../content/descent.ts'
import { type Name, resolve, syscalls } from '../native/syscalls.ts'
import { atRemoveDir, openAs } from './file-type.ts'
import { bytesOf, latin1Of } from './path-bytes.ts'

/** Removes `name` and all below it; nothing there is no error. */
export function removeTree(dirFd: number, name: string): void {
  const bytes = bytesOf(name)
  try {
    syscalls().unlinkat(dirFd, bytes, 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    if (!hasCode(error, 'EISDIR')) throw error
    emptyDirectory(dirFd, name)
    syscalls().unlinkat(dirFd, bytes, atRemoveDir)
  }
}

/**
 * As {@link removeTree}, for an absolute path of our own. Unlike Node's `rm` it removes trees whose
 * paths are longer than the kernel takes at once, which any image may contain.
 */
export function removePath(path: string): void {
  const parent = openSync(dirname(path), openAs.directory)
  try {
    removeTree(parent, latin1Of(basename(path)))
  } finally {
    closeSync(parent)
  }
}

/** Removes all below the directory `name`. */
export function emptyDirectory(dirFd: number, name: string): void {
  using descent = new Descent()
  descent.enter(bytesOf(name), dirFd)
  for (;;) {
    const child = descent.nextName()
    if (child !== undefined) removeOrEnter(descent, child)
    else {
      const left = descent.leave()
      if (left === undefined) return
      // It is empty now.
      syscalls().unlinkat(descent.fd, left, atRemoveDir)
    }
  }
}

function removeOrEnter(descent: Descent, name: Name): void {
  try {
    syscalls().unlinkat(descent.fd, name, 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    if (!hasCode(error, 'EISDIR')) throw error
    descent.enter(name)
  }
}

/** The directory `name`, to be listed. The caller closes it. */
export function openListing(dirFd: number, name: string): number {
  return syscalls().openat2(dirFd, bytesOf(name), [openAs.listing, 0, resolve.beneath])
}
