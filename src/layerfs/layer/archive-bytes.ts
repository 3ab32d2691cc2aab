/** The bytes of a tar that lies in a root as a file, packed or not. */
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import type { Chunks } from '../compression/byte-source.ts'
import { decompress, detectEncoding } from '../compression/decompress.ts'
import { syscalls } from '../native/syscalls.ts'
import { blockSize, type TarEntry } from '../tar/entry.ts'
import { decodeHeader } from '../tar/header.ts'
import { TarReader } from '../tar/reader.ts'
import type { CopyEnd } from './copy.ts'
import { isFile, openAs } from './file-type.ts'
import { procPath } from './open-in-root.ts'

const chunkSize = 256 * 1024

export interface ArchiveBytes {
  /** A header at least. */
  readonly head: Buffer
  readonly rest: AsyncIterable<Uint8Array>
}

/**
 * What `use` makes of the archive; `not-an-archive` for a file that is no tar. Throws `not-found`
 * without the file, `unsupported` without the program that unpacks it.
 */
export async function withArchive<T>(
  from: CopyEnd,
  signal: AbortSignal | undefined,
  use: (archive: ArchiveBytes) => Promise<T>,
): Promise<T | 'not-an-archive'> {
  const fd = openRegular(from)
  if (fd === undefined) return 'not-an-archive'
  try {
    const unpacked = iterate(decompress(chunksOf(fd, signal), encodingOf(fd)))
    const head = await readHead(unpacked)
    return head === undefined ? 'not-an-archive' : await use({ head, rest: unpacked })
  } finally {
    closeSync(fd)
  }
}

/**
 * The latest time of what the archive holds, directories aside, in seconds since 1970; `undefined`
 * for none, and for a file that is no archive. Throws as {@link withArchive}, and `invalid` for a broken one.
 */
export async function newestEntry(
  from: CopyEnd,
  signal?: AbortSignal,
): Promise<number | undefined> {
  let newest: number | undefined
  const reader = new TarReader({
    onEntry: ({ type, mtime }: TarEntry) => {
      if (type !== 'directory') newest = Math.max(newest ?? 0, mtime.seconds)
    },
    onData: () => {},
    onEnd: () => {},
  })
  await withArchive(from, signal, async ({ head, rest }) => {
    reader.push(head)
    for await (const chunk of rest) reader.push(chunk)
    reader.end()
  })
  return newest
}

function openRegular({ root, path }: CopyEnd): number | undefined {
  const found = root.open(path, openAs.anythingFollowed)
  try {
    if (!isFile(syscalls().statx(found, ''))) return undefined
    return openSync(procPath(found), constants.O_RDONLY)
  } finally {
    closeSync(found)
  }
}

function encodingOf(fd: number): ReturnType<typeof detectEncoding> {
  const magic = Buffer.alloc(6)
  return detectEncoding(magic.subarray(0, readSync(fd, magic, 0, magic.length, 0)))
}

function* chunksOf(fd: number, signal: AbortSignal | undefined): Generator<Uint8Array> {
  for (let position = 0; ; ) {
    signal?.throwIfAborted()
    const buffer = Buffer.allocUnsafe(chunkSize)
    const length = readSync(fd, buffer, 0, chunkSize, position)
    if (length === 0) return
    position += length
    yield buffer.subarray(0, length)
  }
}

async function* iterate(chunks: Chunks): AsyncGenerator<Uint8Array> {
  yield* chunks
}

/** The bytes up to the first header at least; `undefined` when they are no tar's. */
async function readHead(chunks: AsyncGenerator<Uint8Array>): Promise<Buffer | undefined> {
  let head = Buffer.alloc(0)
  try {
    while (head.length < blockSize) {
      const next = await chunks.next()
      if (next.done === true) return undefined
      head = Buffer.concat([head, next.value])
    }
    decodeHeader(head.subarray(0, blockSize))
    return head
  } catch (error) {
    // Damaged from the start, or packed but no tar: a file like any other.
    if (!(error instanceof OciError) || error.code !== 'invalid') throw error
    await chunks.return(undefined)
    return undefined
  }
}
