/**
 * A file's bytes in pieces. Lent, they pass through two buffers that stay in the processor's cache;
 * memory of its own for each piece costs as much as sending it (measured). Into a plain connection the
 * kernel sends them, and they come into no buffer at all.
 */
import { sendFile } from '../../../layerfs/content/relay.ts'
import { type Drain, moveInto } from '../drain.ts'
import type { ObjectBytes } from '../object-store.ts'

/** Large enough that a call costs little beside its bytes; larger takes longer (measured). */
const pieceSize = 256 * 1024

/** What is needed of an open file; a `FileHandle` is one. */
export interface ReadableFile {
  readonly fd: number
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

/** To be read once, in one of the ways; ending it closes the file. Throws when the file is shorter. */
export function fileBytes(file: ReadableFile, { start, end = Infinity }: FileRange): ObjectBytes {
  const range = { start, end }
  return {
    [Symbol.asyncIterator]: () => pieces(file, range, () => Buffer.allocUnsafeSlow(pieceSize)),
    get lent() {
      return pieces(file, range, alternating())
    },
    ...(end === Infinity ? {} : { sendTo: drain => sendOn(drain, file, range) }),
  }
}

type WholeRange = Required<FileRange>

async function* pieces(
  file: ReadableFile,
  { start, end }: WholeRange,
  nextBuffer: () => Buffer,
): AsyncGenerator<Uint8Array> {
  try {
    for (let at = start; at < end; ) {
      const buffer = nextBuffer()
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - at), at)
      if (bytesRead === 0 && end === Infinity) return
      // The client was told how much comes, and would take the next reply for the rest.
      if (bytesRead === 0) throw new Error(`The file ends at ${at}, not at ${end}`)
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

async function sendOn(drain: Drain, file: ReadableFile, { start, end }: WholeRange): Promise<void> {
  let isRead = false
  try {
    await moveInto(drain, {
      first: new Uint8Array(),
      relay: (to, limits) => sendFile({ from: file.fd, start, end }, to, limits),
      // What the kernel cannot send by itself; or reading it tells what is wrong.
      goOn: async moved => {
        isRead = true
        return pieces(file, { start: start + moved, end }, alternating())
      },
    })
  } finally {
    if (!isRead) await file.close()
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
