/** The bytes of one file into another, holes kept, without passing through this process. */
import { ftruncateSync, readSync, writeSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'

/** So much at a time, so that a caller can be interrupted between. */
const pieceSize = 16 * 1024 * 1024

const seek = { data: 3, hole: 4 } as const

/**
 * Copies `size` bytes from the open file `from` to the empty open file `to`, yielding between
 * pieces. A source that shrinks meanwhile gives zeros at its end.
 */
export function* copyBody(from: number, to: number, size: number): Generator<void> {
  ftruncateSync(to, size)
  for (let offset = nextData(from, 0); offset < size; offset = nextData(from, offset)) {
    const end = Math.min(syscalls().lseek(from, offset, seek.hole), size)
    while (offset < end) {
      const copied = copyPiece(from, to, { offset, length: Math.min(end - offset, pieceSize) })
      if (copied === 0) return
      offset += copied
      yield
    }
  }
}

/** Infinity when only a hole is left. */
function nextData(fd: number, offset: number): number {
  try {
    return syscalls().lseek(fd, offset, seek.data)
  } catch (error) {
    if (hasCode(error, 'ENXIO')) return Number.POSITIVE_INFINITY
    throw error
  }
}

interface Piece {
  readonly offset: number
  readonly length: number
}

/** File systems that cannot copy between each other, or at all. */
const cannotCopy = ['EXDEV', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS'] as const

function copyPiece(from: number, to: number, { offset, length }: Piece): number {
  try {
    return syscalls().copyFileRange([from, offset], [to, offset], length)
  } catch (error) {
    if (!cannotCopy.some(code => hasCode(error, code))) throw error
    return copyThroughMemory(from, to, { offset, length })
  }
}

const bufferSize = 1024 * 1024

function copyThroughMemory(from: number, to: number, { offset, length }: Piece): number {
  const buffer = Buffer.allocUnsafe(Math.min(length, bufferSize))
  const size = readSync(from, buffer, 0, buffer.length, offset)
  for (let written = 0; written < size; ) {
    written += writeSync(to, buffer, written, size - written, offset + written)
  }
  return size
}
