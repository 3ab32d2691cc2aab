/**
 * One header block ↔ its values, whatever dialect wrote it: V7, ustar, star, GNU.
 */
import { OciError } from '../../oci/errors.ts'
import { blockSize } from './entry.ts'
import { type FieldKey, fields, readField } from './fields.ts'

export interface Header {
  /** The type flag's character; NUL for a V7 regular file. */
  readonly flag: string
  readonly path: Buffer
  readonly linkPath: Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  /** Seconds. */
  readonly mtime: number
  readonly devMajor: number
  readonly devMinor: number
}

/** Its version, two digits behind it, is not looked at. */
const ustarMagic = Buffer.from('ustar\0', 'latin1')
const gnuMagic = Buffer.from('ustar  \0', 'latin1')
const starTrailer = Buffer.from('tar\0', 'latin1')

type Dialect = 'v7' | 'ustar' | 'star' | 'gnu'

/** Throws `invalid` when the checksum or a number is wrong. */
export function decodeHeader(block: Buffer): Header {
  assertChecksum(block)
  const dialect = dialectOf(block)
  const device = dialect === 'v7' ? undefined : block
  const size = readField(block, 'size')
  if (size < 0) throw new OciError('invalid', 'Cannot read tar header: the size is negative')
  return {
    flag: String.fromCharCode(block[fields.type.offset] ?? 0),
    path: pathOf(block, dialect),
    linkPath: copyText(block, fields.linkName),
    mode: readField(block, 'mode') & 0o7777,
    uid: readField(block, 'uid'),
    gid: readField(block, 'gid'),
    size,
    mtime: readField(block, 'mtime'),
    devMajor: device === undefined ? 0 : readField(device, 'devMajor'),
    devMinor: device === undefined ? 0 : readField(device, 'devMinor'),
  }
}

/** Every number must fit its field, `path` must fit name and prefix, `linkPath` its field. */
export function encodeHeader(header: Header, split: SplitPath): Buffer {
  const { mode, uid, gid, size, mtime, devMajor, devMinor } = header
  const block = Buffer.alloc(blockSize)
  const writeText = (key: FieldKey, text: string) => block.write(text, fields[key].offset, 'latin1')
  block.set(split.name, fields.name.offset)
  // Fields that stand side by side are written at once: there is an entry for every file.
  const owner = octal(mode, 'mode') + octal(uid, 'uid') + octal(gid, 'gid')
  writeText('mode', owner + octal(size, 'size') + octal(mtime, 'mtime'))
  writeText('type', header.flag)
  if (header.linkPath.length > 0) block.set(header.linkPath, fields.linkName.offset)
  writeText('magic', 'ustar\x0000')
  writeText('devMajor', octal(devMajor, 'devMajor') + octal(devMinor, 'devMinor'))
  if (split.prefix.length > 0) block.set(split.prefix, fields.prefix.offset)
  // Six digits, NUL, blank: as every tar has written it since V7.
  writeText('checksum', `${checksum(block).toString(8).padStart(6, '0')}\0 `)
  return block
}

function octal(value: number, key: FieldKey): string {
  return `${value.toString(8).padStart(fields[key].length - 1, '0')}\0`
}

export interface SplitPath {
  readonly name: Buffer
  readonly prefix: Buffer
}

/** The path as name and prefix, split at a "/"; `undefined` when it fits no way. */
export function splitPath(path: Buffer): SplitPath | undefined {
  const { name, prefix } = fields
  if (path.length <= name.length) return { name: path, prefix: Buffer.alloc(0) }
  // The last byte may be the "/" of a directory: that one cannot divide.
  const from = Math.min(prefix.length, path.length - 2)
  const slash = path.lastIndexOf(0x2f, from)
  if (slash <= 0 || path.length - slash - 1 > name.length) return undefined
  return { name: path.subarray(slash + 1), prefix: path.subarray(0, slash) }
}

export function isZeroBlock(block: Buffer): boolean {
  return block[0] === 0 && block.equals(zeroBlock)
}

const zeroBlock = Buffer.alloc(blockSize)

function assertChecksum(block: Buffer): void {
  const stored = readField(block, 'checksum')
  if (stored !== checksum(block) && stored !== signedChecksum(block)) {
    throw new OciError('invalid', 'Cannot read tar header: wrong checksum')
  }
}

/** The sum of all bytes, those of the checksum itself counted as blanks. */
function checksum(block: Buffer): number {
  let sum = sumOf(block) + 8 * 0x20
  for (let index = 148; index < 156; index++) sum -= block[index] as number
  return sum
}

const evenBytes = 0x00ff00ff

/** Two bytes of each word at a time: a byte at a time is a third of reading an archive (measured). */
function sumOf(block: Buffer): number {
  const isAligned = block.byteOffset % 4 === 0
  const { buffer, byteOffset } = isAligned ? block : Uint8Array.prototype.slice.call(block)
  const words = new Uint32Array(buffer, byteOffset, blockSize / 4)
  let even = 0
  let odd = 0
  for (let index = 0; index < blockSize / 4; index++) {
    // `as`: the loop stays inside the block; `?? 0` would double its time (measured).
    const word = words[index] as number
    even += word & evenBytes
    odd += (word >>> 8) & evenBytes
  }
  // 128 words of bytes stay below 2^15: neither half runs over into the other.
  return (even & 0xffff) + (even >>> 16) + (odd & 0xffff) + (odd >>> 16)
}

/** Old Sun and some early GNU tars summed signed characters. */
function signedChecksum(block: Buffer): number {
  let sum = checksum(block)
  for (const [index, byte] of block.entries()) {
    if (byte >= 0x80 && (index < 148 || index >= 156)) sum -= 0x100
  }
  return sum
}

function dialectOf(block: Buffer): Dialect {
  const { offset } = fields.magic
  if (isAt(block, offset, gnuMagic)) return 'gnu'
  if (!isAt(block, offset, ustarMagic)) return 'v7'
  return isAt(block, fields.starTrailer.offset, starTrailer) ? 'star' : 'ustar'
}

function isAt(block: Buffer, offset: number, bytes: Buffer): boolean {
  for (let index = 0; index < bytes.length; index++) {
    if (block[offset + index] !== bytes[index]) return false
  }
  return true
}

function pathOf(block: Buffer, dialect: Dialect): Buffer {
  const name = copyText(block, fields.name)
  const prefix = block[fields.prefix.offset] === 0 ? noBytes : prefixOf(block, dialect)
  return prefix.length === 0 ? name : Buffer.concat([prefix, slash, name])
}

function prefixOf(block: Buffer, dialect: Dialect): Buffer {
  switch (dialect) {
    case 'ustar':
      return readField(block, 'prefix')
    case 'star':
      return readField(block, 'starPrefix')
    case 'gnu':
      return strayPrefix(block)
    default:
      return noBytes
  }
}

/**
 * GNU has no prefix: its times stand there. But writers exist (Go up to 1.7) that put a ustar
 * prefix under GNU magic, and layers they wrote are around. What is no time and is printable ASCII
 * is taken for a prefix.
 */
function strayPrefix(block: Buffer): Buffer {
  if (isTime(block, 'gnuAccessTime') && isTime(block, 'gnuChangeTime')) return noBytes
  const prefix = readField(block, 'prefix')
  return prefix.every(byte => byte >= 0x20 && byte < 0x7f) ? prefix : noBytes
}

function isTime(block: Buffer, key: 'gnuAccessTime' | 'gnuChangeTime'): boolean {
  try {
    readField(block, key)
    return true
  } catch (error) {
    if (error instanceof OciError) return false
    throw error
  }
}

const noBytes = Buffer.alloc(0)
const slash = Buffer.from('/')

interface Place {
  readonly offset: number
  readonly length: number
}

/** A copy: the block's memory belongs to whoever pushed it and is reused. */
function copyText(block: Buffer, { offset, length }: Place): Buffer {
  let size = 0
  while (size < length && block[offset + size] !== 0) size++
  if (size === 0) return noBytes
  const copy = Buffer.allocUnsafe(size)
  // Not `copy`: it would make a slice first, which costs more than the bytes (measured).
  for (let index = 0; index < size; index++) copy[index] = block[offset + index] as number
  return copy
}
