/**
 * One pipeline over a layer's blob: read → hash → decompress → hash → tar → visitor.
 *
 * Both digests are checked only when every byte has gone by: what the visitor did before that is
 * the caller's to throw away.
 */
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import {
  algorithmOf,
  type DiffId,
  type Digest,
  finishDiffId,
  finishDigest,
} from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { decompress, detectEncoding } from '../compression/decompress.ts'
import { defaultBudgets, type TarBudgets } from '../tar/entry.ts'
import { TarReader, type TarVisitor } from '../tar/reader.ts'

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
 * Throws `digest-mismatch` when the blob or the tar in it is not what was expected, also where the
 * damage makes the tar unreadable; otherwise what the reader and the visitor throw.
 */
export async function readLayer(layer: LayerBlob, visitor: TarVisitor): Promise<ReadLayer> {
  const fd = openSync(layer.blob, 'r')
  try {
    assertSize(fd, layer)
    const read = await run(fd, layer, visitor)
    assertSame('layer tar', layer.expected.diffId, read.diffId)
    return read
  } finally {
    closeSync(fd)
  }
}

async function run(fd: number, layer: LayerBlob, visitor: TarVisitor): Promise<ReadLayer> {
  const algorithm = algorithmOf(layer.expected.digest)
  const encoding = encodingOf(fd)
  const compressed = createHash(algorithm)
  // Not compressed: blob and tar are the same bytes, and hashing is a third of the work.
  const isSame = encoding === 'none' && algorithm === 'sha256'
  const plain = isSame ? compressed : createHash('sha256')
  const buffers = encoding === 'none' ? 'reused' : 'new'
  const source = chunksOf(fd, buffers, isSame ? undefined : compressed)
  const reader = new TarReader(visitor, { ...defaultBudgets, ...layer.budgets })
  let size = 0
  try {
    for await (const chunk of decompress(source, encoding)) {
      if (isStopped(layer)) throw new Error('Stopped')
      plain.update(chunk)
      size += chunk.length
      reader.push(chunk)
    }
    reader.end()
  } catch (error) {
    if (isStopped(layer)) throw error
    // Damage shows first as a broken archive; that the blob is another is the better answer.
    assertBlob(fd, layer)
    throw error
  }
  const diffId = finishDiffId(plain)
  assertSame(
    'layer blob',
    layer.expected.digest,
    isSame ? diffId : finishDigest(compressed, algorithm),
  )
  return { diffId, size }
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

interface Updatable {
  update(bytes: Uint8Array): unknown
}

/** `reused`: a chunk is valid until the next one is asked for. */
function* chunksOf(
  fd: number,
  buffers: 'new' | 'reused',
  hash: Updatable | undefined,
): Generator<Uint8Array> {
  let buffer = Buffer.allocUnsafe(chunkSize)
  for (let position = 0; ; ) {
    const length = readSync(fd, buffer, 0, chunkSize, position)
    if (length === 0) return
    position += length
    const chunk = buffer.subarray(0, length)
    hash?.update(chunk)
    yield chunk
    if (buffers === 'new') buffer = Buffer.allocUnsafe(chunkSize)
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
  const hash = createHash(algorithm)
  for (const _chunk of chunksOf(fd, 'reused', hash));
  assertSame('layer blob', expected.digest, finishDigest(hash, algorithm))
}

function assertSame(what: string, expected: string, actual: string): void {
  if (expected === actual) return
  throw new OciError(
    'digest-mismatch',
    `Cannot unpack layer: the ${what} is ${actual}, expected ${expected}`,
  )
}
