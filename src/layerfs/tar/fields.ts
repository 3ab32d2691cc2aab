/**
 * The fields of a header block: one table of where each is and how it is read.
 *
 *   0      100  108 116 124  136   148 156 157      257   265  297  329 337 345        500
 *   │ name │mode│uid│gid│size│mtime│sum│ t │linkname│magic│unam│gnam│maj│min│ prefix   │
 *
 * Spec: POSIX.1-2024 pax, ustar Interchange Format; GNU tar manual, Basic Tar Format.
 */
import { OciError } from '../../oci/errors.ts'

interface Place {
  readonly offset: number
  readonly length: number
}

interface Field<T> extends Place {
  /** Reads from the whole block: a slice for each number would be most of the work (measured). */
  decode(block: Buffer, place: Place): T
}

type NumberKey =
  | 'mode'
  | 'uid'
  | 'gid'
  | 'size'
  | 'mtime'
  | 'checksum'
  | 'devMajor'
  | 'devMinor'
  | 'gnuAccessTime'
  | 'gnuChangeTime'
  | 'gnuRealSize'
type BytesKey =
  | 'name'
  | 'type'
  | 'linkName'
  | 'magic'
  | 'prefix'
  | 'starPrefix'
  | 'starTrailer'
  | 'gnuSparseExtended'
export type FieldKey = NumberKey | BytesKey

type Fields = Readonly<Record<NumberKey, Field<number>> & Record<BytesKey, Field<Buffer>>>

const table: Fields = {
  name: text(0, 100),
  mode: number(100, 8),
  uid: number(108, 8),
  gid: number(116, 8),
  size: number(124, 12),
  mtime: number(136, 12),
  checksum: number(148, 8),
  type: text(156, 1),
  linkName: text(157, 100),
  magic: raw(257, 8),
  devMajor: number(329, 8),
  devMinor: number(337, 8),
  prefix: text(345, 155),
  starPrefix: text(345, 131),
  starTrailer: raw(508, 4),
  gnuAccessTime: number(345, 12),
  gnuChangeTime: number(357, 12),
  gnuSparseExtended: raw(482, 1),
  gnuRealSize: number(483, 12),
}

/** Where each field is. */
export const fields: Readonly<
  Record<FieldKey, { readonly offset: number; readonly length: number }>
> = table

type ValueOf<K extends FieldKey> = K extends NumberKey ? number : Buffer

export function readField<K extends FieldKey>(block: Buffer, key: K): ValueOf<K> {
  const field = table[key]
  return field.decode(block, field) as ValueOf<K>
}

/** Whether `value` can be written in octal with a closing NUL in a field of `key`. */
export function fitsNumber(key: FieldKey, value: number): boolean {
  return value >= 0 && value < 8 ** (fields[key].length - 1)
}

/** Up to the first NUL, or the whole field. */
function text(offset: number, length: number): Field<Buffer> {
  return {
    offset,
    length,
    decode(block) {
      let end = offset
      while (end < offset + length && block[end] !== 0) end++
      return block.subarray(offset, end)
    },
  }
}

function raw(offset: number, length: number): Field<Buffer> {
  return {
    offset,
    length,
    decode: block => block.subarray(offset, offset + length),
  }
}

function number(offset: number, length: number): Field<number> {
  return {
    offset,
    length,
    decode: decodeNumber,
  }
}

/**
 * Octal digits between blanks and NULs, or base-256 when the top bit is set (GNU). An empty field
 * is 0, as old writers leave device numbers. Throws `invalid` for anything else, and for what a
 * number cannot hold exactly.
 */
export function decodeNumber(block: Buffer, { offset, length }: Place): number {
  const isOctal = ((block[offset] ?? 0) & 0x80) === 0
  const value = isOctal
    ? decodeOctal(block, offset, offset + length)
    : decodeBase256(block.subarray(offset, offset + length))
  if (value === undefined || !Number.isSafeInteger(value)) {
    throw new OciError(
      'invalid',
      `Cannot read tar header: the field at byte ${offset} is not a number we hold`,
    )
  }
  return value
}

const zero = 0x30
const blank = 0x20

function decodeOctal(block: Buffer, from: number, end: number): number | undefined {
  let at = from
  while (at < end && (block[at] === blank || block[at] === 0)) at++
  let value = 0
  for (; at < end; at++) {
    const byte = block[at] ?? 0
    // Some writers end the digits with a NUL and leave rubbish behind it.
    if (byte === 0) break
    if (byte === blank) return isBlankUntil(block, at, end) ? value : undefined
    if (byte < zero || byte > zero + 7) return undefined
    value = value * 8 + (byte - zero)
  }
  return value
}

function isBlankUntil(block: Buffer, from: number, end: number): boolean {
  for (let at = from; at < end; at++) {
    if (block[at] === 0) return true
    if (block[at] !== blank) return false
  }
  return true
}

/** Two's complement, the top bit being the mark: 0x80… is positive, 0xff… negative. */
function decodeBase256(bytes: Buffer): number | undefined {
  const [first = 0, ...rest] = bytes
  let value = BigInt(first & 0x3f) - ((first & 0x40) === 0 ? 0n : 0x40n)
  for (const byte of rest) value = value * 256n + BigInt(byte)
  const result = Number(value)
  return BigInt(result) === value ? result : undefined
}
