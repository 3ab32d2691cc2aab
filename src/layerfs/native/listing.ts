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
  /** The bytes: to read a number of a buffer is a call, and there are five to an entry. */
  readonly #words: Uint32Array
  #text: string | undefined

  /** Throws RangeError for bytes that are no listing. */
  constructor(bytes: Buffer) {
    const index = syscalls().indexListing(bytes)
    if (index === null) throw new RangeError('A listing has an entry without a name')
    this.bytes = bytes
    this.#words = wordsOf(bytes)
    this.#index = index
    this.length = index[0] ?? 0
  }

  /** Which entries are something else than a file of one name, in their order. */
  get others(): Uint32Array {
    return this.#index.subarray(this.length + 4)
  }

  /** When any of them was changed last, in whole seconds since 1970; of none, long before that. */
  get lastChange(): number {
    const [low = 0, high = 0] = this.#index.subarray(this.length + 2, this.length + 4)
    return low + (high | 0) * 2 ** 32
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

  /** Whether `entry` tells the same of both. */
  hasSame(index: number, other: Listing, otherIndex: number): boolean {
    const [start, end] = [this.#at(index), this.#at(index + 1)]
    const [otherStart, otherEnd] = [other.#at(otherIndex), other.#at(otherIndex + 1)]
    return this.bytes.compare(other.bytes, otherStart, otherEnd, start, end) === 0
  }

  /** The same of files that all belong to one. */
  ownedBy({ uid, gid }: Pick<BriefStat, 'uid' | 'gid'>): Listing {
    if (this.#isOwnedBy(uid, gid)) return this
    const bytes = Buffer.from(this.bytes)
    for (let index = 0; index < this.length; index++) {
      const at = this.#at(index)
      bytes.writeUInt32LE(uid, at + 12)
      bytes.writeUInt32LE(gid, at + 16)
    }
    return new Listing(bytes)
  }

  #isOwnedBy(uid: number, gid: number): boolean {
    for (let index = 0; index < this.length; index++) {
      const at = this.#at(index)
      if (this.#word(at + 12) !== uid || this.#word(at + 16) !== gid) return false
    }
    return true
  }

  name(index: number): Buffer {
    const at = this.#at(index)
    const start = at + nameStart
    return this.bytes.subarray(start, start + this.#word(at + 4))
  }

  /** The name, one character a byte: a buffer for each would take longer than all else about it. */
  latin1(index: number): string {
    this.#text ??= this.bytes.toString('latin1')
    const at = this.#at(index)
    const start = at + nameStart
    return this.#text.slice(start, start + this.#word(at + 4))
  }

  mode(index: number): number {
    return this.#word(this.#at(index) + 8)
  }

  links(index: number): number {
    return this.#word(this.#at(index) + 20)
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
    const at = this.#at(index)
    return {
      mode: this.#word(at + 8),
      uid: this.#word(at + 12),
      gid: this.#word(at + 16),
      size: this.#long(at + 48),
    }
  }

  stat(index: number): FileStat {
    const at = this.#at(index)
    return {
      mode: this.#word(at + 8),
      uid: this.#word(at + 12),
      gid: this.#word(at + 16),
      links: this.#word(at + 20),
      devMajor: this.#word(at + 24),
      devMinor: this.#word(at + 28),
      rdevMajor: this.#word(at + 32),
      rdevMinor: this.#word(at + 36),
      ino: this.bytes.readBigUInt64LE(at + 40),
      size: this.#long(at + 48),
      blocks: this.#long(at + 56),
      mtime: { seconds: this.#signed(at + 64), nanoseconds: this.#word(at + 80) },
      ctime: { seconds: this.#signed(at + 72), nanoseconds: this.#word(at + 84) },
    }
  }

  #at(index: number): number {
    const at = index >= 0 && index <= this.length ? this.#index[index + 1] : undefined
    if (at === undefined) throw new RangeError(`No entry ${index} in the listing`)
    return at
  }

  #word(at: number): number {
    const word = this.#words[at >>> 2]
    if (word === undefined) throw new RangeError(`No entry at ${at} in the listing`)
    return word
  }

  #long(at: number): number {
    return this.#word(at) + this.#word(at + 4) * 2 ** 32
  }

  #signed(at: number): number {
    return this.#word(at) + (this.#word(at + 4) | 0) * 2 ** 32
  }
}

/** Entries are as long as whole words. Where they do not stand at one, a copy does. */
function wordsOf(bytes: Buffer): Uint32Array {
  const isAligned = bytes.byteOffset % 4 === 0
  const { buffer, byteOffset } = isAligned ? bytes : new Uint8Array(bytes)
  return new Uint32Array(buffer, byteOffset, bytes.length >>> 2)
}

/** Throws the kernel's own errors. `fd` stays open. */
export function listingOf(fd: number): Listing {
  return new Listing(syscalls().listDirectory(fd))
}

/** Of whose entries nothing is known but names and types. */
export function typesOf(fd: number): Listing {
  return new Listing(syscalls().listTypes(fd))
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
