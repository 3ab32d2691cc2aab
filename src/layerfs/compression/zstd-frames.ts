/**
 * The frames of Zstandard data, found by their own lengths: nothing is decompressed here.
 *
 *   frame      magic │ descriptor, window, dictionary, size │ blocks: header (3), content │ checksum?
 *   skippable  magic │ length │ anything
 *
 * 1. Skippable frames are dropped, wherever they stand (row A1: a layer may begin with one).
 * 2. No piece goes beyond the end of its frame: node's decompressor forgets what follows a frame in
 *    the same write, and says nothing of data that end too early.
 * 3. A window larger than {@link maxWindow} is refused before any memory is taken for it.
 *
 * Spec: RFC 8878, §3.1.
 */
import { OciError } from '../../oci/errors.ts'
import { ByteSource, type Chunks } from './byte-source.ts'

/** A block, with the header of the frame when it is the first, and the checksum when it is the last. */
export interface FramePiece {
  readonly bytes: Buffer
  readonly endsFrame: boolean
}

/** What `zstd -d` takes without being told to take more. */
const maxWindow = 2 ** 27
const maxBlock = 128 * 1024
const magicNumber = 0xfd2fb528

/** Throws `invalid` for other data and for frames cut short, `unsupported` when they want a dictionary. */
export async function* zstdFrames(source: Chunks): AsyncGenerator<FramePiece> {
  const bytes = new ByteSource(source)
  try {
    for (;;) {
      const magic = await bytes.upTo(4)
      if (magic.length === 0) return
      const number = magic.length < 4 ? 0 : magic.readUInt32LE(0)
      if (number === magicNumber) yield* frame(bytes, magic)
      else if ((number & 0xfffffff0) === 0x184d2a50) await bytes.skip(await skippableSize(bytes))
      else throw damaged('expected a frame, found other bytes')
    }
  } catch (error) {
    if (error === ByteSource.tooShort) throw damaged('they end inside a frame')
    throw error
  } finally {
    await bytes.close()
  }
}

async function skippableSize(bytes: ByteSource): Promise<number> {
  return (await bytes.read(4)).readUInt32LE(0)
}

async function* frame(bytes: ByteSource, magic: Buffer): AsyncGenerator<FramePiece> {
  const { header, hasChecksum } = await frameHeader(bytes)
  let before = [magic, ...header]
  for (;;) {
    const head = await bytes.read(3)
    const { size, isLast } = blockOf(head.readUIntLE(0, 3))
    const block = [...before, head, await bytes.read(size)]
    if (isLast && hasChecksum) block.push(await bytes.read(4))
    yield { bytes: Buffer.concat(block), endsFrame: isLast }
    if (isLast) return
    before = []
  }
}

interface FrameHeader {
  readonly header: readonly Buffer[]
  readonly hasChecksum: boolean
}

async function frameHeader(bytes: ByteSource): Promise<FrameHeader> {
  const descriptor = await bytes.read(1)
  const flags = descriptor[0] ?? 0
  const isSingleSegment = (flags & 0x20) !== 0
  if ((flags & 0x08) !== 0) throw damaged('a reserved bit is set in a frame header')
  const window = await bytes.read(isSingleSegment ? 0 : 1)
  const dictionary = await bytes.read([0, 1, 2, 4][flags & 3] ?? 0)
  if (dictionary.some(byte => byte !== 0)) throw wantsDictionary()
  const content = await bytes.read([isSingleSegment ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0)
  assertWindow(isSingleSegment ? contentSize(content) : windowSize(window[0] ?? 0))
  return { header: [descriptor, window, dictionary, content], hasChecksum: (flags & 4) !== 0 }
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

function contentSize(field: Buffer): number {
  if (field.length === 8) return Number(field.readBigUInt64LE(0))
  const size = field.readUIntLE(0, field.length)
  return field.length === 2 ? size + 256 : size
}

function assertWindow(size: number): void {
  if (size <= maxWindow) return
  const [wanted, most] = [size, maxWindow].map(bytes => Math.ceil(bytes / 2 ** 20))
  const message = `Cannot decompress: zstd data want a window of ${wanted} MiB, ${most} MiB at most`
  throw new OciError('unsupported', message, {
    hint: 'compress again without --long, or with --long=27 at most',
  })
}

function wantsDictionary(): OciError {
  return new OciError('unsupported', 'Cannot decompress: zstd data that need a dictionary')
}

function blockOf(head: number): { readonly size: number; readonly isLast: boolean } {
  const type = (head >> 1) & 3
  const size = head >> 3
  if (type === 3 || size > maxBlock) throw damaged('a block header makes no sense')
  // Of a run of one byte, the size is that of the output.
  return { size: type === 1 ? 1 : size, isLast: (head & 1) !== 0 }
}

/** The error for bytes that are no sound Zstandard data. */
export function damaged(state: string, cause?: unknown): OciError {
  return new OciError('invalid', `Cannot decompress: damaged zstd data: ${state}`, { cause })
}
