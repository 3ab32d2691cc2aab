/**
 * One header block ↔ its values, whatever dialect wrote it: V7, ustar, star, GNU.
 */
import { OciError } from '../../oci/errors.ts'
import { blockSize } from './entry.ts'
import { fields, readField, writeField } from './fields.ts'

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

const ustarMagic = Buffer.from('ustar\x0000', 'latin1')
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
    path: joinPath(prefixOf(block, dialect), readField(block, 'name')),
    linkPath: Buffer.from(readField(block, 'linkName')),
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
  const block = Buffer.alloc(blockSize)
  writeField(block, 'name', split.name)
  writeField(block, 'prefix', split.prefix)
  writeField(block, 'type', Buffer.from(header.flag, 'latin1'))
  writeField(block, 'linkName', header.linkPath)
  writeField(block, 'magic', ustarMagic)
  for (const key of ['mode', 'uid', 'gid', 'size', 'mtime', 'devMajor', 'devMinor'] as const) {
    writeField(block, key, header[key])
  }
  // Six digits, NUL, blank: as every tar has written it since V7.
  block.write(`${checksum(block).toString(8).padStart(6, '0')}\0 `, fields.checksum.offset)
  return block
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
  let sum = 8 * 0x20
  // `as`: both loops stay inside the block; `?? 0` would double their time (measured).
  for (let index = 0; index < 148; index++) sum += block[index] as number
  for (let index = 156; index < blockSize; index++) sum += block[index] as number
  return sum
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
  const { offset, length } = fields.magic
  const is = (magic: Buffer, size: number): boolean =>
    block.compare(magic, 0, size, offset, offset + size) === 0
  if (is(gnuMagic, length)) return 'gnu'
  if (!is(ustarMagic, 6)) return 'v7'
  return readField(block, 'starTrailer').equals(starTrailer) ? 'star' : 'ustar'
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
      return Buffer.alloc(0)
  }
}

/**
 * GNU has no prefix: its times stand there. But writers exist (Go up to 1.7) that put a ustar
 * prefix under GNU magic, and layers they wrote are around. What is no time and is printable ASCII
 * is taken for a prefix.
 */
function strayPrefix(block: Buffer): Buffer {
  const none = Buffer.alloc(0)
  if (isTime(block, 'gnuAccessTime') && isTime(block, 'gnuChangeTime')) return none
  const prefix = readField(block, 'prefix')
  return prefix.every(byte => byte >= 0x20 && byte < 0x7f) ? prefix : none
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

function joinPath(prefix: Buffer, name: Buffer): Buffer {
  // A copy: the block's memory belongs to whoever pushed it and is reused.
  if (prefix.length === 0) return Buffer.from(name)
  return Buffer.concat([prefix, Buffer.from('/'), name])
}
