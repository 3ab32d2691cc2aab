/** Of a directory that is copied nearly all files: by one call, before the rest one by one. */
import type { Listing } from '../native/listing.ts'
import { type CopyNumbers, copyStatus, notWanted, ownMode, syscalls } from '../native/syscalls.ts'
import type { CopyFilter, CopyOptions } from './copy-options.ts'
import { isFile } from './file-type.ts'
import { bytesOf, joinPath, type SafePath } from './path-bytes.ts'

interface Source {
  readonly sourceFd: number
  readonly listing: Listing
}

interface Destination {
  /** Below the directory that the copy goes to. */
  readonly path: SafePath
  /** Makes it where it is missing. */
  open(): number
}

/** Of so few, each by a call of its own. */
const fewFiles = 8

/**
 * Of each entry what became of it, a `copyStatus`; `undefined`: nothing was tried. What is no plain
 * file, or has another in its place, is left to who knows more.
 */
export function copyPlainFiles(
  { sourceFd, listing }: Source,
  options: CopyOptions,
  destination: Destination,
): Uint8Array | undefined {
  const { omit, clampTo, mtime, owner } = options
  if (omit !== undefined || clampTo !== undefined || listing.length < fewFiles) return undefined
  const modes = wantedModes(listing, options, destination.path)
  if (modes === undefined) return undefined
  const { seconds, nanoseconds } = mtime ?? { seconds: 0, nanoseconds: 0 }
  const numbers: CopyNumbers = [
    0,
    owner?.uid ?? -1,
    owner?.gid ?? -1,
    seconds,
    nanoseconds,
    mtime === undefined ? 1 : 0,
  ]
  const from = [sourceFd, listing.bytes] as const
  const values = bytesIn(Float64Array.from(numbers))
  return syscalls().copyFiles(from, destination.open(), bytesIn(modes), values)
}

/** Whether nothing is left to do. The user's directory lives: what vanished is not there (X08). */
export function isOver(status: number | undefined): boolean {
  return status === copyStatus.done || status === copyStatus.gone
}

/** Whether it does not matter how files look, so that types of entries are enough to know. */
export function needsOnlyTypes({ omit, clampTo, mode }: CopyOptions): boolean {
  return omit === undefined && clampTo === undefined && mode === undefined
}

/** `undefined`: no file is to be copied like this. */
function wantedModes(
  listing: Listing,
  { filter, mode }: CopyOptions,
  path: SafePath,
): Uint32Array<ArrayBuffer> | undefined {
  const modes = new Uint32Array(listing.length).fill(notWanted)
  let count = 0
  for (let index = 0; index < listing.length; index++) {
    const found = listing.mode(index)
    if (!isFile({ mode: found }) || listing.links(index) > 1) continue
    if (filter !== undefined && !isKept(filter, path, listing.latin1(index))) continue
    modes[index] = mode === undefined ? ownMode : mode(found & 0o7777, 'other')
    count += 1
  }
  return count === 0 ? undefined : modes
}

function isKept(filter: CopyFilter, path: SafePath, name: string): boolean {
  const text = bytesOf(joinPath(path, name)).toString('utf8')
  return filter(text, 'other') === 'keep'
}

function bytesIn({ buffer }: { readonly buffer: ArrayBuffer }): Uint8Array {
  return new Uint8Array(buffer)
}
