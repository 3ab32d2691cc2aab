/**
 * Opening a path below a root that it cannot leave, whatever links stand in it: the kernel walks,
 * with RESOLVE_IN_ROOT, as if the root were "/".
 */
import { closeSync } from 'node:fs'
import { resolve, syscalls } from '../native/syscalls.ts'
import { openAs } from './file-type.ts'
import { bytesOf, type SafePath } from './path-bytes.ts'

/** What openat2 takes at once, its NUL included. */
const pathMax = 4096

/**
 * Throws the kernel's own errors. A path too long for one call is walked in pieces; links are then
 * followed only within the first piece (ELOOP behind it), so it cannot leave the root either.
 */
export function openInRoot(rootFd: number, path: SafePath, flags: number): number {
  if (path.length < pathMax) {
    const bytes = path === '' ? '.' : bytesOf(path)
    return syscalls().openat2(rootFd, bytes, [flags, 0, resolve.inRoot])
  }
  const cut = path.lastIndexOf('/', pathMax - 1)
  const start = openInRoot(rootFd, path.slice(0, cut) as SafePath, openAs.directory)
  return openBelow(start, path.slice(cut + 1), flags)
}

/** Takes over `startFd`. */
function openBelow(startFd: number, path: string, flags: number): number {
  const how = resolve.beneath | resolve.noSymlinks
  const isLast = path.length < pathMax
  const cut = isLast ? path.length : path.lastIndexOf('/', pathMax - 1)
  const piece = bytesOf(path.slice(0, cut))
  let next: number
  try {
    next = syscalls().openat2(startFd, piece, [isLast ? flags : openAs.directory, 0, how])
  } finally {
    closeSync(startFd)
  }
  return isLast ? next : openBelow(next, path.slice(cut + 1), flags)
}

/** A path that reaches the open file again: for calls that take no descriptor. */
export function procPath(fd: number, name?: string): Buffer {
  return bytesOf(name === undefined ? `/proc/self/fd/${fd}` : `/proc/self/fd/${fd}/${name}`)
}
