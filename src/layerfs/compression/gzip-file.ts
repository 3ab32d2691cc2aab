/**
 * The bytes that a gzip file holds, all its members one after the other, read synchronously into
 * the reader's own memory. For layers, most of which are gzip: Node's streams take half as much
 * time again (measured).
 *
 * Of a member's trailer the size is checked, the sum is not: whoever reads a layer knows a digest.
 * Behind the last member may be zeros, as writers to tapes left them. Spec: RFC 1952.
 */
import { readSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { inflateStatus, inflateWindow, syscalls } from '../native/syscalls.ts'

const inputSize = 256 * 1024

const flags = { headerSum: 0x02, extra: 0x04, name: 0x08, comment: 0x10, reserved: 0xe0 }
const headerLength = 10
const trailerLength = 8

export class GzipFile {
  readonly #fd: number
  readonly #buffer = Buffer.allocUnsafeSlow(inputSize)
  readonly #places = new Uint32Array(2)
  #input = this.#buffer.subarray(0, 0)
  /** Of the file: where the input ends. */
  #position = 0
  #inflater: Uint8Array | undefined
  #isOver = false
  /** Of the member, so far. */
  #size = 0
  #last: Uint8Array = new Uint8Array(inflateWindow)

  /** `fd` stays the caller's; it is read by position. */
  constructor(fd: number) {
    this.#fd = fd
  }

  /**
   * Fills `target` behind its first {@link inflateWindow} bytes, which are for this class: how many
   * bytes; 0 at the end. What the last call filled must be as it was. Throws `invalid`.
   */
  read(target: Uint8Array): number {
    target.set(this.#last.subarray(-inflateWindow))
    this.#places[1] = inflateWindow
    while (this.#filled < target.length && this.#isInMember()) this.#inflate(target)
    this.#last = target.subarray(0, this.#filled)
    return this.#filled - inflateWindow
  }

  get #filled(): number {
    return this.#places[1] ?? 0
  }

  /** Where in the file the next byte is that was not used. */
  get #at(): number {
    return this.#position - this.#input.length + (this.#places[0] ?? 0)
  }

  #inflate(target: Uint8Array): void {
    const inflater = this.#inflater ?? syscalls().newInflater()
    this.#inflater = inflater
    const before = this.#filled
    const status = syscalls().inflate(inflater, [this.#input, target], this.#places)
    this.#size += this.#filled - before
    if (status === inflateStatus.damaged) throw damaged('its codes make no sense')
    if (status === inflateStatus.needsInput) this.#readOn()
    if (status === inflateStatus.ended) this.#endMember()
  }

  #readOn(): void {
    const start = this.#at
    const before = this.#position
    this.#readFrom(start)
    if (this.#position === before) throw damaged('it ends too early')
  }

  #readFrom(start: number): void {
    const length = readSync(this.#fd, this.#buffer, 0, inputSize, start)
    this.#input = this.#buffer.subarray(0, length)
    this.#places[0] = 0
    this.#position = start + length
  }

  #endMember(): void {
    const trailer = this.#bytesAt(this.#at, trailerLength)
    if (trailer.length < trailerLength) throw damaged('it ends too early')
    if (trailer.readUInt32LE(4) !== this.#size % 2 ** 32) throw damaged('its size is another')
    this.#readFrom(this.#at + trailerLength)
    this.#inflater = undefined
    this.#size = 0
  }

  /** Whether there is more; at the beginning of a member its header is skipped. */
  #isInMember(): boolean {
    if (this.#inflater !== undefined) return true
    if (this.#isOver) return false
    const start = this.#at
    const header = this.#bytesAt(start, headerLength)
    this.#isOver = (header[0] ?? 0) === 0
    if (this.#isOver) return false
    this.#readFrom(this.#skipHeader(header, start))
    this.#inflater = syscalls().newInflater()
    return true
  }

  #skipHeader(header: Buffer, start: number): number {
    const [first, second, method, has = 0] = header
    if (first !== 0x1f || second !== 0x8b) throw damaged('something else is behind it')
    if (header.length < headerLength) throw damaged('it ends too early')
    if (method !== 8 || (has & flags.reserved) !== 0) throw damaged('its header is unknown')
    let at = start + headerLength
    if ((has & flags.extra) !== 0) {
      const [low = 0, high = 0] = this.#bytesAt(at, 2)
      at += 2 + low + 256 * high
    }
    if ((has & flags.name) !== 0) at = this.#skipText(at)
    if ((has & flags.comment) !== 0) at = this.#skipText(at)
    return (has & flags.headerSum) === 0 ? at : at + 2
  }

  /** Behind the NUL that ends it. */
  #skipText(start: number): number {
    for (let at = start; ; ) {
      const bytes = this.#bytesAt(at, 4096)
      if (bytes.length === 0) throw damaged('it ends too early')
      const end = bytes.indexOf(0)
      if (end >= 0) return at + end + 1
      at += bytes.length
    }
  }

  #bytesAt(position: number, length: number): Buffer {
    const bytes = Buffer.alloc(length)
    return bytes.subarray(0, readSync(this.#fd, bytes, 0, length, position))
  }
}

function damaged(why: string): OciError {
  return new OciError('invalid', `Cannot decompress: damaged gzip data: ${why}`)
}
