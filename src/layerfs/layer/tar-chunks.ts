/** TarChunks: the pieces that a tar is given in, filled in place. */

/** Large enough for many small files at once, small enough to stay in the processor's cache. */
const chunkSize = 512 * 1024

export class TarChunks {
  readonly #keeps: boolean
  #chunk = Buffer.allocUnsafeSlow(chunkSize)
  #used = 0

  /** `keeps`: chunks are their taker's for ever; if not, until the next one is begun. */
  constructor({ keeps }: { readonly keeps: boolean }) {
    this.#keeps = keeps
  }

  /** Where the next bytes belong. */
  get room(): Buffer {
    return this.#chunk.subarray(this.#used)
  }

  get isBegun(): boolean {
    return this.#used > 0
  }

  /** So many bytes of the room were written. */
  fill(size: number): void {
    this.#used += size
  }

  /** What was filled until now. */
  take(): Buffer {
    const taken = this.#chunk.subarray(0, this.#used)
    if (this.#keeps) this.#chunk = Buffer.allocUnsafeSlow(chunkSize)
    this.#used = 0
    return taken
  }

  /**
   * So many bytes, which `put` writes to the beginning of the room it is given, as many as it can at a
   * time; it answers how many those were. Gives the chunks that are full.
   */
  *write(length: number, put: (room: Buffer, done: number) => number): Generator<Buffer> {
    for (let done = 0; done < length; ) {
      if (this.room.length === 0) yield this.take()
      const written = put(this.room.subarray(0, length - done), done)
      this.fill(written)
      done += written
    }
  }

  add(bytes: Uint8Array): Generator<Buffer> {
    return this.write(bytes.length, (room, done) => {
      room.set(bytes.subarray(done, done + room.length))
      return room.length
    })
  }
}
