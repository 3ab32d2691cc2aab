/**
 * One pipeline over a layer's blob: read → decompress → hash → tar → visitor.
 *
 * The digest of the tar is checked, when every byte has gone by: what the visitor did before that
 * is the caller's to throw away. The blob's own was checked as it came into the store; its bytes
 * are hashed again only where the tar is not what was expected, to say why.
 */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import {
  algorithmOf,
  type DiffId,
  type Digest,
  finishDiffId,
  finishDigest,
} from '../../oci/digest.ts'
import { createDigestHash } from '../../oci/digest-hash.ts'
import { OciError } from '../../oci/errors.ts'
import type { Chunks } from '../compression/byte-source.ts'
import { decompress, detectEncoding } from '../compression/decompress.ts'
import { defaultBudgets, type TarBudgets } from '../tar/entry.ts'
import { TarReader, type TarVisitor } from '../tar/reader.ts'
import { readAhead } from './read-ahead.ts'

export interface LayerBlob {
  /** The file that holds it. */
  readonly blob: string
  readonly expected: { readonly digest: Digest; readonly size: number; readonly diffId: DiffId }
  readonly budgets?: Partial<TarBudgets>
  /** Reading ends with an error soon after its first element becomes other than 0. */
  readonly stop?: Int32Array
}

export interface ReadLayer {
  readonly diffId: DiffId
  /** Bytes of the uncompressed tar. */
  readonly size: number
}

const chunkSize = 256 * 1024

/**
 * Throws `digest-mismatch` when the tar in the blob is not what was expected, also where the damage
 * makes it unreadable; otherwise what the reader and the visitor throw.
 */
export async function readLayer(layer: LayerBlob, visitor: TarVisitor): Promise<ReadLayer> {
  const fd = openSync(layer.blob, 'r')
  try {
    assertSize(fd, layer)
    return await verified(fd, layer, visitor)
  } finally {
    closeSync(fd)
  }
}

async function verified(fd: number, layer: LayerBlob, visitor: TarVisitor): Promise<ReadLayer> {
  try {
    const read = await run(fd, layer, visitor)
    assertSame('layer tar', layer.expected.diffId, read.diffId)
    return read
  } catch (error) {
    // Damage shows first as a broken archive; that the blob is another is the better answer.
    if (!isStopped(layer)) assertBlob(fd, layer)
    throw error
  }
}

async function run(fd: number, layer: LayerBlob, visitor: TarVisitor): Promise<ReadLayer> {
  const encoding = encodingOf(fd)
  const reader = new TarReader(visitor, { ...defaultBudgets, ...layer.budgets })
  const pass = { layer, reader }
  if (encoding === 'zstd') return passHashed(decompress(chunksOf(fd), encoding), pass)
  using ahead = readAhead(fd, encoding)
  const size = await passOn(ahead.chunks, pass)
  return { diffId: ahead.diffId(), size }
}

interface Pass {
  readonly layer: LayerBlob
  readonly reader: TarReader
}

async function passHashed(chunks: Chunks, pass: Pass): Promise<ReadLayer> {
  const hash = createHash('sha256')
  const size = await passOn(chunks, pass, hash)
  return { diffId: finishDiffId(hash), size }
}

/** Returns how many bytes went by. */
async function passOn(chunks: Chunks, { layer, reader }: Pass, hash?: Hash): Promise<number> {
  let size = 0
  for await (const chunk of chunks) {
    if (isStopped(layer)) throw new Error('Stopped')
    hash?.update(chunk)
    size += chunk.length
    reader.push(chunk)
  }
  reader.end()
  return size
}

function isStopped({ stop }: LayerBlob): boolean {
  return stop !== undefined && Atomics.load(stop, 0) !== 0
}

/** The format of a layer is gzip, zstd or none; the bytes say which. */
function encodingOf(fd: number): 'gzip' | 'zstd' | 'none' {
  const head = Buffer.alloc(6)
  const length = readSync(fd, head, 0, head.length, 0)
  const encoding = detectEncoding(head.subarray(0, length))
  if (encoding === 'xz' || encoding === 'bzip2') {
    throw new OciError('unsupported', `Cannot unpack layer: compressed with ${encoding}`, {
      hint: 'layers are gzip, zstd or not compressed; build or push the image again',
    })
  }
  return encoding
}

function* chunksOf(fd: number): Generator<Uint8Array> {
  for (let position = 0; ; ) {
    const buffer = Buffer.allocUnsafe(chunkSize)
    const length = readSync(fd, buffer, 0, chunkSize, position)
    if (length === 0) return
    position += length
    yield buffer.subarray(0, length)
  }
}

function assertSize(fd: number, { expected }: LayerBlob): void {
  const { size } = fstatSync(fd)
  if (size === expected.size) return
  throw new OciError(
    'digest-mismatch',
    `Cannot unpack layer ${expected.digest}: it has ${size} bytes, expected ${expected.size}`,
  )
}

function assertBlob(fd: number, { expected }: LayerBlob): void {
  const algorithm = algorithmOf(expected.digest)
  const hash = createDigestHash(algorithm)
  for (const chunk of chunksOf(fd)) hash.update(chunk)
  assertSame('layer blob', expected.digest, finishDigest(hash, algorithm))
}

function assertSame(what: string, expected: string, actual: string): void {
  if (expected === actual) return
  throw new OciError(
    'digest-mismatch',
    `Cannot unpack layer: the ${what} is ${actual}, expected ${expected}`,
  )
}
