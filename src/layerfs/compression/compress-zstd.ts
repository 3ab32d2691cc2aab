/** Zstandard made by the system's `zstd`, else by Node's own (from 22.15 on). */
import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import type { Chunks } from './byte-source.ts'
import { programPath, throughProgram } from './through-program.ts'
import { throughStream } from './through-stream.ts'

const defaultLevel = 3

/** Numbers of zstd's format, which Node 20 has no names for. */
const levelParameter = 100
const checksumParameter = 201

/**
 * `level`: 1 to 22. The bytes do not depend on the number of processors, but on the version of
 * zstd. Throws what `source` throws, and `unsupported` where there is neither.
 */
export function compressZstd(source: Chunks, { level = defaultLevel } = {}): Chunks {
  const create = nodeCompressor()
  if (programPath('zstd') === undefined && create !== undefined) {
    const params = { [levelParameter]: level, [checksumParameter]: 1 }
    return throughStream(source, create({ params }), 'zstd')
  }
  return throughProgram(source, {
    action: 'compress',
    program: 'zstd',
    args: ['-qcT0', ...(level > 19 ? ['--ultra'] : []), `-${level}`],
    package: 'zstd',
  })
}

type NodeCompressor = (options: { readonly params: Record<number, number> }) => Transform

function nodeCompressor(): NodeCompressor | undefined {
  return (zlib as { readonly createZstdCompress?: NodeCompressor }).createZstdCompress
}
