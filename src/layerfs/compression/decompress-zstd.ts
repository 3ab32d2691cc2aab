/**
 * Zstandard decompressed, by what this machine has: Node's own (from 22.15 on), the program `zstd`,
 * or JavaScript, which is slower and looks at no checksum.
 */
import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { Decompress } from 'fzstd'
import type { Chunks } from './byte-source.ts'
import { programPath, throughProgram } from './through-program.ts'
import { throughStream } from './through-stream.ts'
import { damaged, type FramePiece, zstdFrames } from './zstd-frames.ts'

export const zstdEngines = ['node', 'program', 'script'] as const

export type ZstdEngine = (typeof zstdEngines)[number]

/** The engines that this machine has, the fastest first. */
export function availableEngines(): ZstdEngine[] {
  return zstdEngines.filter(engine => isAvailable[engine]())
}

const isAvailable: Readonly<Record<ZstdEngine, () => boolean>> = {
  node: () => nodeDecompressor() !== undefined,
  program: () => programPath('zstd') !== undefined,
  script: () => true,
}

/**
 * Any number of frames, skippable ones dropped. Memory is bounded by their window, of 128 MiB at
 * most. Throws `invalid` for damaged data or data cut short, `unsupported` for a larger window and
 * for a dictionary.
 */
export async function* decompressZstd(
  source: Chunks,
  engine: ZstdEngine = availableEngines()[0] ?? 'script',
): AsyncGenerator<Uint8Array> {
  // Looked at first: the same data are refused, in the same words, by any engine.
  const frames = zstdFrames(source)
  const first = await frames.next()
  // Node and the program call it an error that there is no frame.
  if (first.done === true) return
  yield* decompressFrames(startingWith(first.value, frames), engine)
}

async function* startingWith<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield first
  yield* rest
}

function decompressFrames(frames: AsyncIterable<FramePiece>, engine: ZstdEngine): Chunks {
  switch (engine) {
    case 'node':
      return byNode(bytesOf(frames))
    case 'program':
      return throughProgram(bytesOf(frames), zstdProgram)
    default:
      return byScript(frames)
  }
}

const zstdProgram = {
  action: 'decompress',
  program: 'zstd',
  args: ['-dcq'],
  package: 'zstd',
} as const

async function* bytesOf(pieces: AsyncIterable<FramePiece>): AsyncGenerator<Uint8Array> {
  for await (const { bytes } of pieces) yield bytes
}

/** Large: node's default of 16 KiB halves the speed (measured for gzip). */
const chunkSize = 256 * 1024

type NodeDecompressor = (options: { readonly chunkSize: number }) => Transform

function nodeDecompressor(): NodeDecompressor | undefined {
  return (zlib as { readonly createZstdDecompress?: NodeDecompressor }).createZstdDecompress
}

function byNode(source: Chunks): Chunks {
  const create = nodeDecompressor()
  if (create === undefined) throw new Error('This Node has no zstd')
  return throughStream(source, create({ chunkSize }), 'zstd')
}

async function* byScript(pieces: AsyncIterable<FramePiece>): AsyncGenerator<Uint8Array> {
  const output: Uint8Array[] = []
  const open = () => new Decompress(chunk => output.push(chunk.slice()))
  let frame = open()
  for await (const { bytes, endsFrame } of pieces) {
    pushInto(frame, bytes)
    yield* output.splice(0).filter(chunk => chunk.length > 0)
    if (endsFrame) frame = open()
  }
}

function pushInto(frame: Decompress, bytes: Uint8Array): void {
  try {
    frame.push(bytes)
  } catch (cause) {
    // Of its own, or a RangeError out of tables that make no sense.
    throw damaged('a block cannot be read', cause)
  }
}
