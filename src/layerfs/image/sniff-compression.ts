/**
 * What a stream is compressed with, by its first bytes; media types and file names may lie.
 */
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { OciError } from '../../oci/errors.ts'
import type { Compression } from '../../oci/media-type.ts'

const magic: readonly (readonly [Compression | 'bzip2' | 'xz', readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b, 0x08]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
]

/** Enough of the beginning for {@link compressionOfBytes}. */
const magicLength = 5

/** Of a stream that begins with `start`. Throws `unsupported` for what no layer may be. */
export function compressionOfBytes(start: Uint8Array): Compression {
  const found = magic.find(([, bytes]) => bytes.every((byte, i) => start[i] === byte))?.[0]
  if (found === 'bzip2' || found === 'xz') {
    throw new OciError('unsupported', `Cannot read a stream compressed with ${found}`, {
      hint: 'decompress it first, or use gzip',
    })
  }
  return found ?? 'none'
}

const inflateChunkSize = 256 * 1024

/** The bytes, inflated if they are gzip. Throws `unsupported` for others, `invalid` for damage. */
export async function* decompressed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = chunks[Symbol.asyncIterator]()
  const start = await readStart(source)
  const whole = rejoin(start, source)
  const compression = compressionOfBytes(start)
  if (compression === 'zstd') {
    throw new OciError('unsupported', 'Cannot read a stream compressed with zstd', {
      hint: 'decompress it first, or use gzip',
    })
  }
  if (compression === 'none') yield* whole
  else yield* gunzipped(whole)
}

async function* gunzipped(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const inflate = createGunzip({ chunkSize: inflateChunkSize })
  const source = Readable.from(chunks)
  source.on('error', error => inflate.destroy(error))
  try {
    yield* source.pipe(inflate) as AsyncIterable<Uint8Array>
  } catch (cause) {
    if (!isZlibError(cause)) throw cause
    throw new OciError('invalid', 'Cannot inflate: the gzip stream is damaged', { cause })
  } finally {
    source.destroy()
  }
}

function isZlibError(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('Z_')
  )
}

/** Chunks can be a byte long. */
async function readStart(source: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let start = Buffer.alloc(0)
  while (start.length < magicLength) {
    const { value, done } = await source.next()
    if (done === true) break
    start = Buffer.concat([start, value])
  }
  return start
}

async function* rejoin(
  start: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    if (start.length > 0) yield start
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
      yield next.value
    }
  } finally {
    await rest.return?.()
  }
}
