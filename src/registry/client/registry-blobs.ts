/**
 * Blobs that stay in their registry until somebody reads them, behind the interface of those that
 * are here: a base image's layers are pushed elsewhere without ever being stored.
 */
import type { BlobReader, ByteRange } from '../../layerfs/content/content-store.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { fetchBlob } from './blob.ts'
import type { RegistryClient } from './client.ts'
import type { Repository } from './request.ts'

export interface RemoteBlob {
  readonly at: Repository
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>
}

/** Bytes that are elsewhere, for a reader to open any number of times. */
export interface LazyBlob {
  readonly size: number
  /** Verified where it is read to the end. */
  open(): AsyncIterable<Uint8Array>
}

const defaultMaxSize = 16 * 1024 * 1024

/** As {@link lazyBlobs}, of registries; `open` throws as `fetchBlob` does. */
export function registryBlobs(
  client: RegistryClient,
  blobs: ReadonlyMap<Digest, RemoteBlob>,
): BlobReader {
  return lazyBlobs(digest => {
    const blob = blobs.get(digest)
    if (blob === undefined) return undefined
    const { at, descriptor } = blob
    return { size: descriptor.size, open: () => fetchBlob(client, at, { descriptor }) }
  })
}

/**
 * `find` asks nobody: a blob counts as there when `lookUp` says so. `open` downloads it each time.
 */
export function lazyBlobs(lookUp: (digest: Digest) => LazyBlob | undefined): BlobReader {
  const open = (digest: Digest, range: ByteRange = { start: 0 }) => {
    const blob = lookUp(digest)
    return blob === undefined ? missing(digest) : cut(blob.open(), range)
  }
  return {
    open,
    async find(digest) {
      const blob = lookUp(digest)
      return blob === undefined ? undefined : { digest, size: blob.size }
    },
    async read(digest, maxSize = defaultMaxSize) {
      const size = lookUp(digest)?.size ?? 0
      if (size > maxSize) {
        throw new OciError('too-large', `Cannot read blob ${digest}: more than ${maxSize} bytes`)
      }
      const chunks: Uint8Array[] = []
      for await (const chunk of open(digest)) chunks.push(chunk)
      return Buffer.concat(chunks)
    },
  }
}

/** Each blob from the first reader that has it. */
export function firstOf(...readers: readonly BlobReader[]): BlobReader {
  const holder = async (digest: Digest) => {
    for (const reader of readers) if ((await reader.find(digest)) !== undefined) return reader
    throw notFound(digest)
  }
  return {
    async find(digest) {
      for (const reader of readers) {
        const found = await reader.find(digest)
        if (found !== undefined) return found
      }
      return undefined
    },
    async *open(digest, range) {
      yield* (await holder(digest)).open(digest, range)
    },
    async read(digest, maxSize) {
      return (await holder(digest)).read(digest, maxSize)
    },
  }
}

/** The bytes of the range, and no more of `chunks` than it takes. */
export async function* cut(
  chunks: AsyncIterable<Uint8Array>,
  { start, end = Number.POSITIVE_INFINITY }: ByteRange,
): AsyncGenerator<Uint8Array> {
  let at = 0
  for await (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at))
    at += chunk.byteLength
    if (part.byteLength > 0) yield part
    if (at >= end) return
  }
}

// biome-ignore lint/correctness/useYield: the first chunk is what throws
async function* missing(digest: Digest): AsyncGenerator<Uint8Array> {
  throw notFound(digest)
}

function notFound(digest: Digest): OciError {
  return new OciError('not-found', `Cannot read blob ${digest}: no such blob`)
}
