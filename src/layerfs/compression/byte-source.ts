/** Bytes by number, out of chunks of any length. Holds one chunk, and what is asked for. */

export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export class ByteSource {
  /** Thrown by {@link read} and {@link skip}: whoever reads knows what it was that ended too early. */
  static readonly tooShort = new Error('The bytes end too early')

  readonly #chunks: Iterator<Uint8Array> | AsyncIterator<Uint8Array>
  #chunk: Buffer = Buffer.alloc(0)

  constructor(chunks: Chunks) {
    this.#chunks =
      Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]()
  }

  /** Exactly so many. */
  async read(length: number): Promise<Buffer> {
    const bytes = await this.upTo(length)
    if (bytes.length < length) throw ByteSource.tooShort
    return bytes
  }

  /** Fewer only when there are no more. */
  async upTo(length: number): Promise<Buffer> {
    if (this.#chunk.length >= length) return this.#cut(length)
    const parts: Buffer[] = []
    for (let missing = length; missing > 0; ) {
      if (this.#chunk.length === 0 && !(await this.#fill())) break
      const part = this.#cut(missing)
      parts.push(part)
      missing -= part.length
    }
    return Buffer.concat(parts)
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      if (this.#chunk.length === 0 && !(await this.#fill())) throw ByteSource.tooShort
      left -= this.#cut(left).length
    }
  }

  /** Ends the source, where it was not read to its end. */
  async close(): Promise<void> {
    await this.#chunks.return?.()
  }

  #cut(length: number): Buffer {
    const part = this.#chunk.subarray(0, length)
    this.#chunk = this.#chunk.subarray(part.length)
    return part
  }

  async #fill(): Promise<boolean> {
    const next = await this.#chunks.next()
    if (next.done === true) return false
    const { buffer, byteOffset, byteLength } = next.value
    this.#chunk = Buffer.from(buffer, byteOffset, byteLength)
    return true
  }
}
