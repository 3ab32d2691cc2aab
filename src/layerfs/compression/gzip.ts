/**
 * Parallel gzip whose bytes depend on the input and the level alone.
 *
 *   header │ block 0 │ block 1 │ … │ final empty block │ crc32 │ size
 *
 * 1. The input is cut every {@link blockSize} bytes, wherever its chunks end. Each block is deflated
 *    on its own in libuv's thread pool, with the 32 KiB before it as dictionary (so little is lost)
 *    and a sync flush at its end (so that blocks can be laid end to end). By our own deflate, or by
 *    zlib where somebody asks for one of its levels.
 * 2. Blocks come out in order; at most `concurrency` are in memory, as input and output.
 * 3. The header has no name, time or system. So the same input gives the same digest for any number
 *    of threads, and on any machine; of a level, a different zlib may give a different one.
 *
 * Spec: RFC 1951, RFC 1952.
 */
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { constants, crc32, deflateRaw } from 'node:zlib'
import { syscalls } from '../native/syscalls.ts'

/** Part of the output's identity: changing it changes the digest of every layer. */
const blockSize = 512 * 1024

/** How far back deflate can refer. */
const windowSize = 32 * 1024

export interface GzipOptions {
  /** Of zlib: 0 (stored) to 9; absent: our own, as small as its level 4 in half of the time (measured). */
  readonly level?: number
  /** Blocks in memory at a time; default: two per processor, so that none waits for the oldest. */
  readonly concurrency?: number
}

/** ID, deflate, no flags, no time, no hint, unknown system. */
export const gzipHeader = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)

/** A last block with nothing in it: the blocks before it need not know which of them is last. */
const finalBlock = Uint8Array.of(0x03, 0x00)

export async function* gzip(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { level, concurrency = 2 * availableParallelism() }: GzipOptions = {},
): AsyncGenerator<Uint8Array> {
  let crc = 0
  let size = 0
  const deflating: Promise<Uint8Array>[] = []
  yield gzipHeader
  for await (const block of blocksOf(chunks)) {
    const content = block.bytes.subarray(block.before)
    crc = crc32(content, crc)
    size += content.length
    deflating.push(deflateBlock(block, level))
    if (deflating.length >= concurrency) yield await next(deflating)
  }
  while (deflating.length > 0) yield await next(deflating)
  yield finalBlock
  yield gzipTrailer(crc, size)
}

interface Block {
  readonly bytes: Buffer
  /** How many of them are the end of the block before. */
  readonly before: number
}

async function* blocksOf(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Block> {
  let before = 0
  let bytes = Buffer.allocUnsafe(blockSize)
  let filled = 0
  for await (const chunk of chunks) {
    for (let offset = 0; offset < chunk.length; ) {
      const part = chunk.subarray(offset, offset + bytes.length - filled)
      bytes.set(part, filled)
      filled += part.length
      offset += part.length
      if (filled < bytes.length) continue
      yield { bytes, before }
      // A new one: threads still read the old one.
      const window = bytes.subarray(-windowSize)
      bytes = Buffer.allocUnsafe(windowSize + blockSize)
      bytes.set(window)
      before = windowSize
      filled = windowSize
    }
  }
  if (filled > before) yield { bytes: bytes.subarray(0, filled), before }
}

async function deflateBlock(
  { bytes, before }: Block,
  level: number | undefined,
): Promise<Uint8Array> {
  if (level === undefined) return await syscalls().deflate(bytes, before)
  return await promisify(deflateRaw)(bytes.subarray(before), {
    level,
    chunkSize: blockSize,
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(before === 0 ? {} : { dictionary: bytes.subarray(0, before) }),
  })
}

async function next(deflating: Promise<Uint8Array>[]): Promise<Uint8Array> {
  const first = deflating.shift()
  if (first === undefined) throw new Error('Nothing is being deflated')
  return await first
}

/** The end of a member: its checksum, and its size unpacked. */
export function gzipTrailer(crc: number, size: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(crc, 0)
  bytes.writeUInt32LE(size % 2 ** 32, 4)
  return bytes
}
