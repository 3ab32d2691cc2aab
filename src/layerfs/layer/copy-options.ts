/** What becomes of the files that are copied. */
import type { FileStat, Timestamp } from '../native/syscalls.ts'
import type { LastLink } from './walk-in-root.ts'

export interface CopyOptions {
  /** Absent: each file keeps its own. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** The permission bits that a file or directory of the source gets; not asked for links. */
  readonly mode?: (mode: number, kind: 'directory' | 'other') => number
  /** The permission bits of directories that the destination lacks; absent: 0755 (C05, C13). */
  readonly impliedMode?: number
  /** What to take of a directory, by path below it; absent: all. */
  readonly filter?: CopyFilter
  /** What is passed over, by what it is. */
  readonly omit?: (stat: FileStat) => boolean
  /** Whether a socket leaves an empty file; absent: nothing. */
  readonly emptySockets?: true
  /** What a link at the end of the source's path is; absent: followed. */
  readonly sourceLink?: LastLink
  /** Absent: each file keeps its own. */
  readonly mtime?: Timestamp
  /** Seconds since 1970: later times become this one (SOURCE_DATE_EPOCH). */
  readonly clampTo?: number
}

/**
 * `descend`: the directory itself is not wanted, something in it may be: it is made when something
 * is. Paths are UTF-8 text with "/", without one at the end.
 */
export type CopyFilter = (
  relativePath: string,
  kind: 'directory' | 'other',
) => 'keep' | 'drop' | 'descend'
