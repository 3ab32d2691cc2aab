/**
 * Whether a file in the upper directory says anything that the layers below do not say already.
 * The kernel copies a whole file up before it is written to, touched, or moved away and back.
 */
import { closeSync, readSync } from 'node:fs'
import { type FileStat, resolve, syscalls } from '../native/syscalls.ts'
import { isPortable, type Xattr, xattrsAt } from './attributes.ts'
import { isDirectory, isFile, isSymlink, openAs } from './file-type.ts'
import { bytesOf } from './path-bytes.ts'

/** A name in an open directory, and what is there. */
export interface Found {
  readonly fd: number
  readonly name: string
  readonly stat: FileStat
}

/**
 * The same type, owner, mode, attributes and, but for directories, time and content. A directory's
 * time only tells that something in it came or went.
 */
export function isUnchanged(upper: Found, lower: Found): boolean {
  if (!hasSameStat(upper.stat, lower.stat)) return false
  if (!hasSameXattrs(portableXattrs(upper), portableXattrs(lower))) return false
  if (isSymlink(upper.stat)) return targetOf(upper).equals(targetOf(lower))
  return !isFile(upper.stat) || hasSameContent(upper, lower)
}

/** The attributes that belong into a layer, sorted by name. */
export function portableXattrs({ fd, name }: Pick<Found, 'fd' | 'name'>): Xattr[] {
  return xattrsAt(fd, name).filter(xattr => isPortable(xattr.name))
}

export function targetOf({ fd, name }: Found): Buffer {
  return syscalls().readlinkat(fd, bytesOf(name))
}

/** For reading. The caller closes it. */
export function openFile({ fd, name }: Pick<Found, 'fd' | 'name'>): number {
  const how = resolve.beneath | resolve.noSymlinks
  return syscalls().openat2(fd, bytesOf(name), [openAs.reading, 0, how])
}

function hasSameStat(upper: FileStat, lower: FileStat): boolean {
  if (upper.mode !== lower.mode || upper.uid !== lower.uid || upper.gid !== lower.gid) return false
  if (upper.rdevMajor !== lower.rdevMajor || upper.rdevMinor !== lower.rdevMinor) return false
  if (isDirectory(upper)) return true
  return (
    upper.size === lower.size &&
    upper.mtime.seconds === lower.mtime.seconds &&
    upper.mtime.nanoseconds === lower.mtime.nanoseconds
  )
}

function hasSameXattrs(upper: readonly Xattr[], lower: readonly Xattr[]): boolean {
  return (
    upper.length === lower.length &&
    upper.every((xattr, index) => {
      const other = lower[index]
      return other !== undefined && xattr.name.equals(other.name) && xattr.value.equals(other.value)
    })
  )
}

const chunkSize = 256 * 1024

function hasSameContent(upper: Found, lower: Found): boolean {
  const upperFd = openFile(upper)
  try {
    const lowerFd = openFile(lower)
    try {
      return readsSame(upperFd, lowerFd, Math.min(chunkSize, upper.stat.size + 1))
    } finally {
      closeSync(lowerFd)
    }
  } finally {
    closeSync(upperFd)
  }
}

function readsSame(oneFd: number, otherFd: number, size: number): boolean {
  const one = Buffer.allocUnsafe(size)
  const other = Buffer.allocUnsafe(size)
  for (;;) {
    const length = readSync(oneFd, one)
    // Regular files read full buffers up to their end.
    if (readSync(otherFd, other) !== length) return false
    if (length === 0) return true
    if (one.compare(other, 0, length, 0, length) !== 0) return false
  }
}
