/**
 * Diff: the changes in an upper directory as a layer's tar. A pure function of the upper directory
 * and the layers below: the same state gives the same bytes, here and anywhere, today and later, so
 * a tar need not be kept to be sent again.
 *
 * Spec: image-spec layer.md, Representing Changes.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readdirSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { type DiffId, finishDiffId, parseDiffId } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { openFlags } from '../native/syscalls.ts'
import { endOfArchive } from '../tar/writer.ts'
import { ChangeEncoder, type EncodedChange, type EncodeOptions } from './change-encoder.ts'
import { walkRuns } from './diff-walk.ts'
import { LayerLook } from './layer-look.ts'
import { overlayFormat } from './overlay-format.ts'
import { openRoot } from './rootfs.ts'
import { TarChunks } from './tar-chunks.ts'

export interface DiffRequest {
  /** A layer directory in overlayfs's format; nobody writes to it meanwhile. */
  readonly upper: string
  /** Directories of the layers below, **top first**. */
  readonly lower: readonly string[]
  /** Seconds since 1970: later times become this one (SOURCE_DATE_EPOCH). */
  readonly clampTo?: number
}

export interface HashedDiff {
  readonly diffId: DiffId
  /** Bytes of the tar. */
  readonly size: number
  readonly entries: number
  /** Nothing changed: the tar has no entry. */
  readonly empty: boolean
  /** A check sum of all but the times: where it differs, more than times do. */
  readonly look: string
}

/**
 * The tar, in chunks that are the consumer's to keep. Memory does not grow with its size. Throws
 * `unsupported` for a name that a layer cannot hold, `conflict` when a file changes while it is
 * read, `not-found` for a missing directory.
 */
export function* diffLayer(request: DiffRequest): Generator<Uint8Array> {
  yield* tarChunks(request, { keeps: true })
}

/**
 * What {@link diffLayer} would give, hashed; other work goes on in between. Throws the same, and soon
 * after the first element of `stop` becomes other than 0.
 */
export async function hashDiff(request: DiffRequest, stop?: Int32Array): Promise<HashedDiff> {
  const limit = Number.POSITIVE_INFINITY
  const hashed = await hashDiffUpTo(request, { limit, ...(stop === undefined ? {} : { stop }) })
  if (hashed === undefined) throw new Error('A tar is larger than infinity')
  return hashed
}

export interface HashLimits {
  /** Bytes of the tar. */
  readonly limit: number
  /** Hashing ends with an error soon after its first element becomes other than 0. */
  readonly stop?: Int32Array
}

/** As {@link hashDiff}; `undefined` for a tar larger than `limit`, as soon as that is known. */
export async function hashDiffUpTo(
  request: DiffRequest,
  { limit, stop }: HashLimits,
): Promise<HashedDiff | undefined> {
  if (isEmpty(request.upper)) return emptyDiff
  const look = new LayerLook()
  const onChunk = () => {
    if (stop?.[0] === 1) throw new Error('Stopped')
  }
  return hashTar(tarChunks(request, { look, keeps: false }), { look, limit, onChunk })
}

export interface TarHashing {
  /** That of the tar. */
  readonly look: LayerLook
  /** Bytes of the tar. */
  readonly limit: number
  readonly onChunk: (chunk: Buffer) => void
}

/** `undefined` for a tar larger than `limit`, as soon as that is known. Other work goes on in between. */
export async function hashTar(
  chunks: Iterable<Buffer>,
  { look, limit, onChunk }: TarHashing,
): Promise<HashedDiff | undefined> {
  const hash = createHash('sha256')
  let size = 0
  for (const chunk of chunks) {
    // Before all but the first one: most steps of a build change little.
    if (size > 0) await setImmediate()
    onChunk(chunk)
    hash.update(chunk)
    size += chunk.length
    if (size > limit) return undefined
  }
  return {
    diffId: finishDiffId(hash),
    size,
    entries: look.count,
    empty: look.count === 0,
    look: look.text,
  }
}

/** Of the tar without an entry: steps that change nothing are many. */
export const emptyDiff: HashedDiff = {
  diffId: parseDiffId('sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef'),
  size: 1024,
  entries: 0,
  empty: true,
  look: new LayerLook().text,
}

function isEmpty(upper: string): boolean {
  try {
    return readdirSync(upper).length === 0
  } catch (cause) {
    throw cannotOpen(upper, cause)
  }
}

function* tarChunks(
  request: DiffRequest,
  { look, keeps }: { readonly look?: LayerLook; readonly keeps: boolean },
): Generator<Buffer> {
  const upperFd = openUpper(request.upper)
  try {
    // For an empty layer, what is below need not be mounted.
    using below =
      request.lower.length > 0 && !isEmpty(request.upper)
        ? openRoot({ kind: 'overlay', lower: request.lower })
        : undefined
    const trees = { upperFd, lowerFd: below?.fd, format: overlayFormat() }
    yield* tarOf(walkRuns(trees), { keeps, clampTo: request.clampTo, look })
  } finally {
    closeSync(upperFd)
  }
}

/** `keeps`: chunks are the consumer's to keep; if not, until it asks for the next. */
export function* tarOf(
  changes: Iterable<EncodedChange>,
  { keeps, ...options }: EncodeOptions & { readonly keeps: boolean },
): Generator<Buffer> {
  const chunks = new TarChunks({ keeps })
  const encoder = new ChangeEncoder(chunks, options)
  for (const change of changes) yield* encoder.encode(change)
  yield* chunks.add(endOfArchive())
  yield chunks.take()
}

function openUpper(path: string): number {
  try {
    return openSync(path, openFlags.path | constants.O_DIRECTORY | openFlags.closeOnExec)
  } catch (cause) {
    throw cannotOpen(path, cause)
  }
}

function cannotOpen(path: string, cause: unknown): OciError {
  return new OciError('not-found', `Cannot open layer directory "${path}"`, { cause })
}
