/**
 * Packing a copy: the layer that copying a directory would make, straight from the source to its tar.
 * Nearly all of a copy's time goes into making files, and of a diff's into reading them again: who
 * only sends the layer on needs neither.
 */
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { NotPlain } from './change-encoder.ts'
import { copiedChanges, type PlainCopy } from './copied-changes.ts'
import { type HashedDiff, hashTar, tarOf } from './diff.ts'
import { LayerLook } from './layer-look.ts'

export interface Packing {
  /** The new file that the tar becomes. */
  readonly tar: string
  /** Bytes of the tar. */
  readonly limit: number
  readonly signal: AbortSignal
}

/**
 * What a diff would tell of the copy. `undefined` for what is not as plain as that, is larger, or
 * fails: who makes the copy knows more, and says what is wrong. The file has rubbish then. Throws the
 * signal's reason.
 */
export async function packCopy(
  copy: PlainCopy,
  { tar, limit, signal }: Packing,
): Promise<HashedDiff | undefined> {
  const look = new LayerLook()
  const chunks = tarOf(copiedChanges(copy), { keeps: false, look, isPlain: true })
  const fd = openSync(tar, 'wx', 0o600)
  try {
    const onChunk = (chunk: Buffer) => {
      signal.throwIfAborted()
      writeFileSync(fd, chunk)
    }
    return await hashTar(chunks, { look, limit, onChunk })
  } catch (error) {
    signal.throwIfAborted()
    if (isForCopy(error)) return undefined
    throw error
  } finally {
    closeSync(fd)
  }
}

function isForCopy(error: unknown): boolean {
  if (error instanceof NotPlain || error instanceof OciError) return true
  return error instanceof Error && 'syscall' in error
}
