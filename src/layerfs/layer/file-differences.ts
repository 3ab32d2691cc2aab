/** In what a file differs from another that had its name, for people. */
import type { FileStat } from '../native/syscalls.ts'
import { type Found, hasSameBytes, isSameButTimes, targetOf } from './compare-files.ts'
import { isFile, isSymlink } from './file-type.ts'

export interface FileDifference {
  /** `type`, `mode`, `owner`, `size`, `content`, `target`, `attributes`, `time`. */
  readonly what: string
  readonly from?: string
  readonly to?: string
}

const typeBits = 0o170000

/** `644`. */
export function modeText({ mode }: FileStat): string {
  return (mode & 0o7777).toString(8)
}

/** `0:0`. */
export function ownerText({ uid, gid }: FileStat): string {
  return `${uid}:${gid}`
}

/** At least one; both are there, and are not the same. */
export function fileDifferences(old: Found, now: Found): FileDifference[] {
  if ((old.stat.mode & typeBits) !== (now.stat.mode & typeBits)) return [{ what: 'type' }]
  const found = [
    difference('mode', modeText(old.stat), modeText(now.stat)),
    difference('owner', ownerText(old.stat), ownerText(now.stat)),
    ...contentDifferences(old, now),
  ].flat()
  if (found.length > 0) return found
  return [{ what: isSameButTimes(now, old) ? 'time' : 'attributes' }]
}

function contentDifferences(old: Found, now: Found): FileDifference[] {
  if (isSymlink(now.stat)) {
    return difference('target', targetOf(old).toString(), targetOf(now).toString())
  }
  if (!isFile(now.stat)) return []
  const size = difference('size', String(old.stat.size), String(now.stat.size))
  return size.length > 0 || !hasSameBytes(now, old) ? [...size, { what: 'content' }] : []
}

function difference(what: string, from: string, to: string): FileDifference[] {
  return from === to ? [] : [{ what, from, to }]
}
