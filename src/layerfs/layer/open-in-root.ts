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
  return walk(rootFd, path, { flags, how: resolve.inRoot })
}

/** As {@link openInRoot}, but ELOOP for a link on the way. A last one is opened with O_NOFOLLOW. */
export function openWithoutLinks(rootFd: number, path: SafePath, flags: number): number {
  return walk(rootFd, path, { flags, how: resolve.inRoot | resolve.noSymlinks })
}

interface Opening {
  readonly flags: number
  readonly how: number
}

function walk(rootFd: number, path: string, { flags, how }: Opening): number {
  if (path.length < pathMax) {
    return syscalls().openat2(rootFd, path === '' ? '.' : bytesOf(path), [flags, 0, how])
  }
  const cut = path.lastIndexOf('/', pathMax - 1)
  const start = walk(rootFd, path.slice(0, cut), { flags: openAs.directory, how })
  try {
    const below = resolve.beneath | resolve.noSymlinks
    return walk(start, path.slice(cut + 1), { flags, how: below })
  } finally {
    closeSync(start)
  }
}

/** A path that reaches the open file again: for calls that take no descriptor. */
export function procPath(fd: number, name?: string): Buffer {
  return bytesOf(name === undefined ? `/proc/self/fd/${fd}` : `/proc/self/fd/${fd}/${name}`)
}
