/** Chunks in the order they came, taken from the front. */
import type { PartMemory } from './part-memory.ts'

export class Tail {
  readonly #memory: PartMemory
  readonly #chunks: Uint8Array[] = []
  #size = 0

  constructor(memory: PartMemory) {
    this.#memory = memory
  }

  get size(): number {
    return this.#size
  }

  push(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) {
      this.#chunks.push(chunk)
      this.#size += chunk.length
      this.#memory.hold(chunk.length)
    }
  }

  /** The first `size` bytes, of at least as many. */
  take(size: number): Uint8Array[] {
    const taken: Uint8Array[] = []
    let left = size
    let used = 0
    for (const chunk of this.#chunks) {
      if (left === 0) break
      taken.push(chunk.subarray(0, left))
      if (chunk.length > left) this.#chunks[used] = chunk.subarray(left)
      else used++
      left -= Math.min(left, chunk.length)
    }
    this.#chunks.splice(0, used)
    this.#size -= size
    this.#memory.hold(-size)
    return taken
  }

  drop(): void {
    this.take(this.#size)
  }
}
