/**
 * A layer's tar, read, inflated and hashed by a thread of the addon while this one works on what came
 * before: that is most of the work. `addon/read-ahead.c` draws it.
 */
import { createHash } from 'node:crypto'
import { type DiffId, parseDiffId } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { startingThread } from '../native/starting-thread.ts'
import { aheadSlots, inflateWindow, syscalls } from '../native/syscalls.ts'

export interface ReadAhead extends Disposable {
  /** Once. Each is valid until the next one is asked for. */
  readonly chunks: Iterable<Uint8Array>
  /** Of all chunks, once they were read. */
  diffId(): DiffId
}

const slotSize = inflateWindow + 512 * 1024

/** What an earlier layer was read with. */
const spares: Buffer[] = []

/**
 * Of the file `fd`, which stays the caller's; `gzip`: of what it holds. Its chunks throw `invalid` for
 * damaged gzip data. Throws `unavailable` where no thread can be had.
 */
export function readAhead(fd: number, encoding: 'gzip' | 'none'): ReadAhead {
  const { openHash, finishHash, openAhead, closeAhead } = syscalls()
  const memory = spares.pop() ?? Buffer.allocUnsafeSlow(aheadSlots * slotSize)
  const threadHash = openHash('sha256')
  const ahead = startingThread('read a layer', () =>
    openAhead(fd, encoding === 'gzip', memory, threadHash),
  )
  const ownHash = threadHash === undefined ? createHash('sha256') : undefined
  return {
    chunks: chunksOf(memory, () => syscalls().nextAhead(ahead), ownHash),
    diffId() {
      closeAhead(ahead)
      const digest = threadHash === undefined ? ownHash?.digest() : finishHash(threadHash)
      return parseDiffId(`sha256:${digest?.toString('hex')}`)
    },
    [Symbol.dispose]() {
      closeAhead(ahead)
      spares[0] = memory
    },
  }
}

function* chunksOf(
  memory: Buffer,
  next: () => number | string,
  hash: { update(chunk: Uint8Array): unknown } | undefined,
): Generator<Uint8Array> {
  for (let slot = 0; ; slot = (slot + 1) % aheadSlots) {
    const length = next()
    if (typeof length === 'string') {
      throw new OciError('invalid', `Cannot decompress: damaged gzip data: ${length}`)
    }
    if (length === 0) return
    const start = slot * slotSize + inflateWindow
    const chunk = memory.subarray(start, start + length)
    hash?.update(chunk)
    yield chunk
  }
}
