/**
 * The digest of a file's bytes. Of a file without large holes it is their SHA-256; large holes are
 * not read: a file of a terabyte that holds nothing costs nothing.
 */
import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { dataOf, type Range } from '../../layerfs/layer/copy-content.ts'
import { type FileStat, syscalls } from '../../layerfs/native/syscalls.ts'
import { OciError } from '../../oci/errors.ts'

const chunkSize = 1 << 20

/** Smaller holes are read as the zeros they are. */
const largeHole = 16 * 1024 * 1024

/** In a layer holes are zeros, to be hashed and packed at every export. */
const mostHoles = 2 ** 36

/**
 * Of as many bytes as `stat` tells, or fewer when the file became shorter. Throws `too-large` for
 * holes of more than 64 GiB, `unsupported` for a file that does not tell its size.
 */
export async function bodyDigest(fd: number, stat: FileStat, signal: AbortSignal): Promise<string> {
  const ranges = [...withoutSmallHoles(dataOf(fd, stat), stat.size)]
  assertHoles(ranges, stat.size)
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(Math.min(chunkSize, Math.max(stat.size, 1)))
  for (const { start, end } of ranges) {
    for (let at = start; at < end; ) {
      const length = readSync(fd, buffer, 0, Math.min(buffer.length, end - at), at)
      if (length === 0) break
      hash.update(buffer.subarray(0, length))
      at += length
      // A long file must not keep the terminal from being drawn nor Ctrl-C from being heard.
      if (length === chunkSize) await pause(signal)
    }
  }
  if (stat.size === 0) assertEmpty(fd, buffer)
  const digest = hash.digest('hex')
  return isWhole(ranges, stat.size) ? digest : `${digest} ${placesOf(ranges)}`
}

function* withoutSmallHoles(ranges: Iterable<Range>, size: number): Generator<Range> {
  let held: Range = { start: 0, end: 0 }
  for (const { start, end } of ranges) {
    if (start - held.end >= largeHole) {
      if (held.end > 0) yield held
      held = { start, end }
    } else held = { start: held.start, end }
  }
  if (size - held.end < largeHole) held = { start: held.start, end: size }
  if (held.end > 0) yield held
}

function isWhole(ranges: readonly Range[], size: number): boolean {
  const [only = { start: 0, end: 0 }] = ranges
  return ranges.length < 2 && only.start === 0 && only.end === size
}

/** The same bytes elsewhere are another file. */
function placesOf(ranges: readonly Range[]): string {
  return createHash('sha256').update(JSON.stringify(ranges)).digest('hex')
}

function assertHoles(ranges: readonly Range[], size: number): void {
  const data = ranges.reduce((sum, { start, end }) => sum + end - start, 0)
  if (size - data <= mostHoles) return
  throw new OciError(
    'too-large',
    `it has ${size} bytes, of which only ${data} are on the disk: a layer has no holes`,
  )
}

/** Files of /proc say that they are empty, and a copy of one would be. */
function assertEmpty(fd: number, buffer: Buffer): void {
  if (readSync(fd, buffer, 0, 1, 0) === 0 || syscalls().statx(fd, '').size > 0) return
  throw new OciError('unsupported', 'it does not tell its size')
}

async function pause(signal: AbortSignal): Promise<void> {
  await new Promise(resume => setImmediate(resume))
  signal.throwIfAborted()
}
