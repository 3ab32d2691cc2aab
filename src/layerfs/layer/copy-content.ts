/**
 * A file's bytes into another file, the cheapest way there is: the kernel shares or copies them
 * (copy_file_range; a reflink where the file system can), and holes stay holes.
 */
import { ftruncateSync, readSync, writeSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { type FileStat, syscalls } from '../native/syscalls.ts'

const seekData = 3
const seekHole = 4
const kernelChunk = 1024 * 1024 * 1024
const bufferSize = 1024 * 1024

/** Copies what `stat` said is in `fromFd` to the empty file `toFd`. */
export function copyContent(fromFd: number, toFd: number, stat: FileStat): void {
  for (const range of dataOf(fromFd, stat)) copyRange(fromFd, toFd, range)
  // A hole at the end has no bytes that would have made the file long enough.
  if (isSparse(stat)) ftruncateSync(toFd, stat.size)
}

/** Half-open. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** What of the file is no hole, as far as its file system tells. */
export function dataOf(fd: number, stat: FileStat): Iterable<Range> {
  if (stat.size === 0) return []
  return isSparse(stat) ? dataRanges(fd, stat.size) : [{ start: 0, end: stat.size }]
}

function isSparse({ size, blocks }: FileStat): boolean {
  return blocks * 512 < size
}

function* dataRanges(fd: number, size: number): Generator<Range> {
  for (let at = 0; at < size; ) {
    const start = nextData(fd, at)
    if (start === undefined || start >= size) return
    const end = Math.min(syscalls().lseek(fd, start, seekHole), size)
    yield { start, end }
    at = end
  }
}

function nextData(fd: number, from: number): number | undefined {
  try {
    return syscalls().lseek(fd, from, seekData)
  } catch (error) {
    if (hasCode(error, 'ENXIO')) return undefined
    throw error
  }
}

function copyRange(fromFd: number, toFd: number, { start, end }: Range): void {
  let at = start
  try {
    while (at < end) {
      const length = Math.min(end - at, kernelChunk)
      const count = syscalls().copyFileRange([fromFd, at], [toFd, at], length)
      if (count === 0) return
      at += count
    }
  } catch (error) {
    if (!isRefusal(error)) throw error
    readAndWrite(fromFd, toFd, { start: at, end })
  }
}

/** Two file systems, or one that cannot. */
function isRefusal(error: unknown): boolean {
  const codes = ['EXDEV', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS', 'EBADF', 'ETXTBSY', 'EPERM'] as const
  return codes.some(code => hasCode(error, code))
}

function readAndWrite(fromFd: number, toFd: number, { start, end }: Range): void {
  const buffer = Buffer.allocUnsafe(Math.min(bufferSize, end - start))
  for (let at = start; at < end; ) {
    const length = readSync(fromFd, buffer, 0, Math.min(buffer.length, end - at), at)
    if (length === 0) return
    let written = 0
    while (written < length) {
      written += writeSync(toFd, buffer, written, length - written, at + written)
    }
    at += length
  }
}
