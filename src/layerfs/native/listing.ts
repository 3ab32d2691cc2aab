/**
 * Listing: a directory's entries with what `lstat` tells of each, in one buffer (`addon/list.c`
 * draws it), sorted by bytes. Two are the same bytes when nothing about any entry changed.
 */
import { constants } from 'node:fs'
import { type FileStat, syscalls } from './syscalls.ts'

const nameStart = 88

export type BriefStat = Pick<FileStat, 'mode' | 'uid' | 'gid' | 'size'>

export class Listing {
  readonly bytes: Buffer
  readonly length: number
  /** As the addon makes it: counting ten thousand entries here took longer than listing them. */
  readonly #index: Uint32Array

  /** Throws RangeError for bytes that are no listing. */
  constructor(bytes: Buffer) {
    const index = syscalls().indexListing(bytes)
    if (index === null) throw new RangeError('A listing has an entry without a name')
    this.bytes = bytes
    this.#index = index
    this.length = index[0] ?? 0
  }

  /** Which entries are something else than a file of one name, in their order. */
  get others(): Uint32Array {
    return this.#index.subarray(this.length + 2)
  }

  /** Which of them are directories. */
  get directories(): Uint32Array {
    return this.others.filter(index => (this.mode(index) & constants.S_IFMT) === constants.S_IFDIR)
  }

  /** From `start` up to `end`, as bytes of a listing. */
  entries(start: number, end: number): Buffer {
    return this.bytes.subarray(this.#at(start), this.#at(end))
  }

  /** All that is known of the entry: the same bytes, the same file as before. */
  entry(index: number): Buffer {
    return this.entries(index, index + 1)
  }

  name(index: number): Buffer {
    const at = this.#at(index)
    const start = at + nameStart
    return this.bytes.subarray(start, start + this.bytes.readUInt32LE(at + 4))
  }

  mode(index: number): number {
    return this.bytes.readUInt32LE(this.#at(index) + 8)
  }

  links(index: number): number {
    return this.bytes.readUInt32LE(this.#at(index) + 20)
  }

  size(index: number): number {
    return this.#long(this.#at(index) + 48)
  }

  /** Of the last change, in whole seconds since 1970. */
  changed(index: number): number {
    return this.#signed(this.#at(index) + 72)
  }

  /** What most need to know. */
  brief(index: number): BriefStat {
    const { bytes } = this
    const at = this.#at(index)
    return {
      mode: bytes.readUInt32LE(at + 8),
      uid: bytes.readUInt32LE(at + 12),
      gid: bytes.readUInt32LE(at + 16),
      size: this.#long(at + 48),
    }
  }

  stat(index: number): FileStat {
    const { bytes } = this
    const at = this.#at(index)
    return {
      mode: bytes.readUInt32LE(at + 8),
      uid: bytes.readUInt32LE(at + 12),
      gid: bytes.readUInt32LE(at + 16),
      links: bytes.readUInt32LE(at + 20),
      devMajor: bytes.readUInt32LE(at + 24),
      devMinor: bytes.readUInt32LE(at + 28),
      rdevMajor: bytes.readUInt32LE(at + 32),
      rdevMinor: bytes.readUInt32LE(at + 36),
      ino: bytes.readBigUInt64LE(at + 40),
      size: this.#long(at + 48),
      blocks: this.#long(at + 56),
      mtime: { seconds: this.#signed(at + 64), nanoseconds: bytes.readUInt32LE(at + 80) },
      ctime: { seconds: this.#signed(at + 72), nanoseconds: bytes.readUInt32LE(at + 84) },
    }
  }

  #at(index: number): number {
    const at = index >= 0 && index <= this.length ? this.#index[index + 1] : undefined
    if (at === undefined) throw new RangeError(`No entry ${index} in the listing`)
    return at
  }

  #long(at: number): number {
    return this.bytes.readUInt32LE(at) + this.bytes.readUInt32LE(at + 4) * 2 ** 32
  }

  #signed(at: number): number {
    return this.bytes.readUInt32LE(at) + this.bytes.readInt32LE(at + 4) * 2 ** 32
  }
}

/** Throws the kernel's own errors. `fd` stays open. */
export function listingOf(fd: number): Listing {
  return new Listing(syscalls().listDirectory(fd))
}

/** Of a file alone, as a directory that has nothing else would be listed. */
export function listingOfOne(name: Uint8Array, stat: FileStat): Listing {
  const bytes = Buffer.alloc(Math.ceil((nameStart + name.length + 1) / 8) * 8)
  const { mode, uid, gid, links, devMajor, devMinor, rdevMajor, rdevMinor } = stat
  const numbers = [mode, uid, gid, links, devMajor, devMinor, rdevMajor, rdevMinor]
  for (const [index, value] of [bytes.length, name.length, ...numbers].entries()) {
    bytes.writeUInt32LE(value, index * 4)
  }
  bytes.writeBigUInt64LE(stat.ino, 40)
  bytes.writeBigUInt64LE(BigInt(stat.size), 48)
  bytes.writeBigUInt64LE(BigInt(stat.blocks), 56)
  for (const [index, time] of [stat.mtime, stat.ctime].entries()) {
    bytes.writeBigInt64LE(BigInt(time.seconds), 64 + index * 8)
    bytes.writeUInt32LE(time.nanoseconds, 80 + index * 4)
  }
  bytes.set(name, nameStart)
  return new Listing(bytes)
}
