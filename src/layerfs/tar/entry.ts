/**
 * TarEntry: one member of an archive as a value. Names are bytes: Linux forbids only NUL and "/".
 */

export type EntryType =
  | 'file'
  | 'hardlink'
  | 'symlink'
  | 'directory'
  | 'character-device'
  | 'block-device'
  | 'fifo'

/** Whole seconds (negative before 1970) and nanoseconds 0–999,999,999. */
export interface TarTime {
  readonly seconds: number
  readonly nanoseconds: number
}

export interface Xattr {
  readonly name: Buffer
  readonly value: Buffer
}

export interface TarEntry {
  readonly type: EntryType
  /** As the archive has it: not cleaned, may climb, may be absolute. */
  readonly path: Buffer
  /** Target of a hard or symbolic link; empty otherwise. */
  readonly linkPath: Buffer
  /** Permission bits with setuid, setgid and sticky; no file type. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of the content, holes of a sparse file included; 0 for all but files. */
  readonly size: number
  readonly mtime: TarTime
  /** Of a device node. */
  readonly devMajor: number
  readonly devMinor: number
  readonly xattrs: readonly Xattr[]
}

/** What every archive costs at most; a reader stops with `too-large` where it would cost more. */
export interface TarBudgets {
  /** Bytes of one extended header, long name or sparse map. */
  readonly extendedHeader: number
  readonly entries: number
  /** Components of one path. */
  readonly depth: number
  /** Bytes of all contents together, holes included. */
  readonly content: number
  /** Bytes of the paths that are remembered until the end: of directories, links, whiteouts. */
  readonly names: number
}

export const defaultBudgets: TarBudgets = {
  extendedHeader: 1024 * 1024,
  entries: 10_000_000,
  depth: 4096,
  content: 2 ** 44,
  names: 2 ** 28,
}

export const blockSize = 512

/** Bytes between the end of `size` bytes of content and the next block. */
export function paddingOf(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize
}
