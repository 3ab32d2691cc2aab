/**
 * Where an unfinished object stands: the parts of its multipart upload, and the bytes after them that
 * are too few for a part, as pieces.
 *
 * It is the token of a checkpoint, so whoever reads the session can go on.
 */
import { OciError } from '../../../oci/errors.ts'
import type { Checkpoint } from '../object-store.ts'
import type { Piece } from './pieces.ts'

export interface Part {
  readonly etag: string
  readonly size: number
}

export interface Progress {
  /** Of the multipart upload; absent before the first part. */
  readonly uploadId?: string
  readonly parts: readonly Part[]
  readonly pieces: readonly Piece[]
  /** Keys of pieces that are in `parts` now, and can go once this progress is the recorded one. */
  readonly spent: readonly string[]
}

export const noProgress: Progress = { parts: [], pieces: [], spent: [] }

export function sizeOf(parts: readonly { readonly size: number }[]): number {
  return parts.reduce((sum, { size }) => sum + size, 0)
}

export function checkpointOf(progress: Progress): Checkpoint {
  const size = sizeOf(progress.parts) + sizeOf(progress.pieces)
  return { size, token: JSON.stringify(progress) }
}

/** Throws `not-found` when the checkpoint is not of this kind of store, or damaged. */
export function parseProgress({ size, token }: Checkpoint): Progress {
  if (size === 0 && token === '') return noProgress
  const progress = progressFrom(token)
  if (progress !== undefined && checkpointOf(progress).size === size) return progress
  throw new OciError('not-found', 'Cannot continue object: nobody knows where its bytes are')
}

function progressFrom(token: string): Progress | undefined {
  try {
    const { uploadId, parts, pieces, spent } = JSON.parse(token) as Partial<Progress>
    if (!Array.isArray(parts) || !Array.isArray(pieces) || !Array.isArray(spent)) return undefined
    if (parts.length > 0 && typeof uploadId !== 'string') return undefined
    return { ...(typeof uploadId === 'string' ? { uploadId } : {}), parts, pieces, spent }
  } catch {
    return undefined
  }
}
