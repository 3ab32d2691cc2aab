/**
 * What a stream is packed with, by its first bytes: file names and media types may lie.
 */
import { OciError } from '../../oci/errors.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { decompress, detectEncoding, type Encoding } from '../compression/decompress.ts'

/** Enough of the beginning for `detectEncoding`. */
const headLength = 6

export interface Sniffed {
  readonly encoding: Encoding
  /** The whole stream, its beginning included. */
  readonly chunks: AsyncIterable<Uint8Array>
}

/** The first bytes are read before the promise resolves. */
export async function sniff(chunks: AsyncIterable<Uint8Array>): Promise<Sniffed> {
  const source = chunks[Symbol.asyncIterator]()
  const head = await readHead(source)
  return { encoding: detectEncoding(head), chunks: rejoin(head, source) }
}

/** Unpacked, whatever it was packed with. Throws as {@link decompress} does. */
export async function* decompressed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const sniffed = await sniff(chunks)
  yield* decompress(sniffed.chunks, sniffed.encoding)
}

/** The media type of a layer packed so. Throws `unsupported` for what registries do not take. */
export function layerTypeOf(encoding: Encoding): string {
  switch (encoding) {
    case 'none':
      return mediaTypes.layer
    case 'gzip':
      return mediaTypes.layerGzip
    case 'zstd':
      return mediaTypes.layerZstd
    default:
      throw new OciError('unsupported', `Cannot take a layer compressed with ${encoding}`)
  }
}

/** Chunks can be a byte long. */
async function readHead(source: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head = Buffer.alloc(0)
  while (head.length < headLength) {
    const { value, done } = await source.next()
    if (done === true) break
    head = Buffer.concat([head, value])
  }
  return head
}

async function* rejoin(
  head: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    if (head.length > 0) yield head
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
      yield next.value
    }
  } finally {
    await rest.return?.()
  }
}
