/**
 * A blob while it arrives: stored by one, read by any number, each at their own pace.
 *
 * A reader gets what came a moment ago from memory, what came before from the storage, where that
 * shows unfinished objects, and else waits until the blob is whole. No reader holds the others up,
 * and none gets the last byte before all of them were verified and stored: what is wrong is never
 * complete.
 */
import type { ObjectRange } from '../../storage/object-store.ts'

/** Of each blob that is arriving. */
const windowSize = 4 * 1024 * 1024

type Open = (range: ObjectRange) => AsyncIterable<Uint8Array>

type State =
  | { readonly kind: 'arriving' }
  | { readonly kind: 'stored' }
  | { readonly kind: 'failed'; readonly error: unknown }

interface Piece {
  readonly start: number
  readonly bytes: Uint8Array
}

export class SharedBytes {
  readonly #size: number
  readonly #recent: Piece[] = []
  #recentSize = 0
  #received = 0
  #state: State = { kind: 'arriving' }
  #stored: { readonly size: number; readonly open: Open } | undefined
  #waiting: (() => void)[] = []

  constructor(size: number) {
    this.#size = size
  }

  /** The same bytes, remembered as they pass. */
  async *passing(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      if (chunk.length === 0) continue
      this.#recent.push({ start: this.#received, bytes: chunk })
      this.#received += chunk.length
      this.#recentSize += chunk.length
      while (this.#recentSize > windowSize && this.#recent.length > 1) {
        this.#recentSize -= this.#recent.shift()?.bytes.length ?? 0
      }
      this.#wake()
      yield chunk
    }
  }

  /** So many of the first bytes can be opened from now on. */
  canOpen(size: number, open: Open): void {
    this.#stored = { size, open }
    this.#wake()
  }

  /** All was right, and is stored. */
  finish(open: Open): void {
    this.#stored = { size: this.#size, open }
    this.#state = { kind: 'stored' }
    this.#wake()
  }

  fail(error: unknown): void {
    this.#state = { kind: 'failed', error }
    this.#wake()
  }

  /** Throws what {@link fail} was told. */
  async *read({ start, end }: ObjectRange): AsyncGenerator<Uint8Array> {
    for (let at = start; at < end; ) {
      if (this.#state.kind === 'failed') throw this.#state.error
      const limit = Math.min(end, this.#state.kind === 'stored' ? this.#size : this.#size - 1)
      const recent = this.#recentAt(at, limit)
      if (recent !== undefined) {
        at += recent.length
        yield recent
        continue
      }
      const stored = { start: at, end: Math.min(limit, this.#stored?.size ?? 0) }
      if (this.#stored === undefined || stored.start >= stored.end) {
        await new Promise<void>(resolve => this.#waiting.push(resolve))
        continue
      }
      for await (const chunk of this.#stored.open(stored)) {
        at += chunk.length
        yield chunk
      }
      if (at === stored.start) throw new Error('Stored bytes are gone')
    }
  }

  #recentAt(at: number, limit: number): Uint8Array | undefined {
    const [first] = this.#recent
    if (first === undefined || at < first.start || at >= Math.min(limit, this.#received)) return
    let low = 0
    let high = this.#recent.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#recent[middle]?.start ?? 0) <= at) low = middle
      else high = middle - 1
    }
    const piece = this.#recent[low]
    return piece?.bytes.subarray(at - piece.start, limit - piece.start)
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
