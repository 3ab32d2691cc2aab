/**
 * What all uploads of the process may hold in memory together, whatever their number.
 *
 * Half of it is for bytes that wait for their part to be full: who finds it used up puts its bytes
 * into the bucket as a piece, and goes on with none. The other half is for parts on their way, which
 * end by themselves, so waiting for a turn ends too.
 */
export class PartMemory {
  readonly #half: number
  #waiting = 0
  #onTheWay = 0
  readonly #queue: { readonly size: number; readonly enter: () => void }[] = []

  constructor(limit: number) {
    this.#half = limit / 2
  }

  /** Notes bytes that came (or, negative, went). */
  hold(size: number): void {
    this.#waiting += size
  }

  isUsedUp(): boolean {
    return this.#waiting > this.#half
  }

  /** A turn to send `size` bytes; one that is larger than all there is waits until it is alone. */
  async reserve(size: number): Promise<Disposable> {
    if (this.#queue.length > 0 || !this.#fits(size)) {
      await new Promise<void>(resolve => this.#queue.push({ size, enter: resolve }))
    } else {
      this.#onTheWay += size
    }
    return {
      [Symbol.dispose]: () => {
        this.#onTheWay -= size
        this.#admit()
      },
    }
  }

  #fits(size: number): boolean {
    return this.#onTheWay === 0 || this.#onTheWay + size <= this.#half
  }

  #admit(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (!this.#fits(next.size)) return
      this.#queue.shift()
      this.#onTheWay += next.size
      next.enter()
    }
  }
}
