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
  if (!isDirectory(upper.stat) && !hasSameTime(upper.stat, lower.stat)) return false
  return isSameButTimes(upper, lower) && (!isFile(upper.stat) || hasSameBytes(upper, lower))
}

/** All but a file's time and bytes, of which only how many they are. */
export function isSameButTimes(one: Found, other: Found): boolean {
  if (!hasSameStat(one.stat, other.stat)) return false
  if (!hasSameXattrs(portableXattrs(one), portableXattrs(other))) return false
  return !isSymlink(one.stat) || targetOf(one).equals(targetOf(other))
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
  return isDirectory(upper) || upper.size === lower.size
}

function hasSameTime({ mtime: one }: FileStat, { mtime: other }: FileStat): boolean {
  return one.seconds === other.seconds && one.nanoseconds === other.nanoseconds
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

/** Of two regular files. */
export function hasSameBytes(upper: Found, lower: Found): boolean {
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
