/**
 * A file's bytes in pieces. Lent, they pass through two buffers that stay in the processor's cache;
 * memory of its own for each piece costs as much as sending it (measured).
 */
import type { ObjectBytes } from '../object-store.ts'

/** Large enough that a call costs little beside its bytes; larger takes longer (measured). */
const pieceSize = 256 * 1024

/** What is needed of an open file; a `FileHandle` is one. */
export interface ReadableFile {
  read(
    buffer: Buffer,
    at: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>
  close(): Promise<void>
}

export interface FileRange {
  readonly start: number
  /** Not included; absent: the end of the file. */
  readonly end?: number
}

/** To be read once, either way; ending the iteration closes the file. */
export function fileBytes(file: ReadableFile, range: FileRange): ObjectBytes {
  return {
    [Symbol.asyncIterator]: () => pieces(file, range, () => Buffer.allocUnsafeSlow(pieceSize)),
    get lent() {
      return pieces(file, range, alternating())
    },
  }
}

async function* pieces(
  file: ReadableFile,
  { start, end = Number.POSITIVE_INFINITY }: FileRange,
  nextBuffer: () => Buffer,
): AsyncGenerator<Uint8Array> {
  try {
    for (let at = start; at < end; ) {
      const buffer = nextBuffer()
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - at), at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

function alternating(): () => Buffer {
  const buffers = [Buffer.allocUnsafeSlow(pieceSize), Buffer.allocUnsafeSlow(pieceSize)] as const
  let isFirst = false
  return () => {
    isFirst = !isFirst
    return isFirst ? buffers[0] : buffers[1]
  }
}
