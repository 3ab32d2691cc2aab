/**
 * Decompression of a layer: bytes in, bytes out, whatever wrote them. The bytes decide, not the
 * media type (row A1); a blob without a byte is an empty layer.
 */
import * as zlib from 'node:zlib'
import type { Chunks } from './byte-source.ts'
import { decompressZstd } from './decompress-zstd.ts'
import { throughProgram } from './through-program.ts'
import { throughStream } from './through-stream.ts'

export type Encoding = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz'

/** Large: node's default of 16 KiB halves the speed (measured). */
const chunkSize = 256 * 1024

const magics: readonly { readonly encoding: Encoding; readonly bytes: readonly number[] }[] = [
  { encoding: 'gzip', bytes: [0x1f, 0x8b] },
  { encoding: 'zstd', bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { encoding: 'bzip2', bytes: [0x42, 0x5a, 0x68] },
  { encoding: 'xz', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
]

/** How the bytes that begin with `head` (six of them suffice) are packed. */
export function detectEncoding(head: Uint8Array): Encoding {
  // Zstandard may begin with a skippable frame, whose magic has a free digit.
  const isSkippable =
    ((head[0] ?? 0) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18
  if (isSkippable) return 'zstd'
  const found = magics.find(({ bytes }) => bytes.every((byte, index) => head[index] === byte))
  return found?.encoding ?? 'none'
}

/**
 * The unpacked bytes. `source` is read to its end, also behind the last packed byte, as its digest
 * covers all of them. Throws `invalid` for damaged bytes, `unsupported` when nothing here can read
 * the encoding. Ends the helper process, if there is one, when the consumer stops early.
 */
export function decompress(source: Chunks, encoding: Encoding): Chunks {
  switch (encoding) {
    case 'none':
      return source
    case 'gzip':
      return throughStream(source, zlib.createGunzip({ chunkSize }), 'gzip')
    case 'zstd':
      return decompressZstd(source)
    case 'bzip2':
      return throughProgram(source, {
        action: 'decompress',
        program: 'bzip2',
        args: ['-dc'],
        package: 'bzip2',
      })
    default:
      return throughProgram(source, {
        action: 'decompress',
        program: 'xz',
        args: ['-dc'],
        package: 'xz-utils',
      })
  }
}
