/** Bytes through one of node's decompressors. */
import type { Readable, Writable } from 'node:stream'
import { OciError } from '../../oci/errors.ts'
import type { Chunks } from './byte-source.ts'
import { feed } from './feed.ts'

/** Throws `invalid` for damaged data, calling them `name` data, and whatever `source` throws. */
export async function* throughStream(
  source: Chunks,
  engine: Readable & Writable,
  name: string,
): AsyncGenerator<Uint8Array> {
  const feeding = feed(source, engine).catch(error => {
    engine.destroy(error instanceof Error ? error : new Error(String(error)))
  })
  try {
    yield* engine as AsyncIterable<Uint8Array>
  } catch (cause) {
    if (!isZlibError(cause)) throw cause
    throw new OciError('invalid', `Cannot decompress: damaged ${name} data`, { cause })
  } finally {
    engine.destroy()
  }
  await feeding
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^Z_|^ZSTD_/.test(String(error.code))
}
