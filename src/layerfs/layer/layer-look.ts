/**
 * LayerLook: a check sum of a layer's tar with all times 0. It need not be what nobody can forge: it
 * only tells apart.
 */
import { crc32 } from 'node:zlib'

export class LayerLook {
  #sum = 0
  #count = 0

  get count(): number {
    return this.#count
  }

  get text(): string {
    return `${this.#count} ${this.#sum.toString(16)}`
  }

  /** The headers of so many, with times of 0; those of files may have all their bytes with them. */
  entries(count: number, bytes: Uint8Array): void {
    this.#count += count
    this.bytes(bytes)
  }

  bytes(bytes: Uint8Array): void {
    this.#sum = crc32(bytes, this.#sum)
  }
}
