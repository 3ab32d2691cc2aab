/**
 * Extended header records: `LENGTH KEYWORD=VALUE\n`, LENGTH counting itself. Values are bytes; an
 * extended attribute may hold NULs and newlines. Spec: POSIX.1-2024 pax Extended Header.
 */
import { OciError } from '../../oci/errors.ts'
import type { TarTime } from './entry.ts'

export interface PaxRecord {
  /** Latin-1 text of the keyword's bytes: lossless, and plain for the keywords that are defined. */
  readonly keyword: string
  readonly value: Buffer
}

/**
 * The records in order. Throws `invalid` for a malformed one: skipping it would make us see another
 * archive than other readers do (the TARmageddon class).
 */
export function parsePax(bytes: Buffer): PaxRecord[] {
  const records: PaxRecord[] = []
  let offset = 0
  while (offset < bytes.length) {
    // Some writers pad the block with NULs and count the padding in.
    if (bytes[offset] === 0 && bytes.subarray(offset).every(byte => byte === 0)) break
    const end = offset + recordLength(bytes, offset)
    records.push(parseRecord(bytes.subarray(offset, end)))
    offset = end
  }
  return records
}

function recordLength(bytes: Buffer, offset: number): number {
  const digits = /^([1-9][0-9]{0,8}) /.exec(bytes.toString('latin1', offset, offset + 10))?.[1]
  const length = Number(digits)
  if (digits === undefined || offset + length > bytes.length || length < digits.length + 3) {
    throw malformed('a record has no valid length')
  }
  return length
}

function parseRecord(record: Buffer): PaxRecord {
  const start = record.indexOf(0x20) + 1
  const equals = record.indexOf(0x3d, start)
  if (equals <= start || record[record.length - 1] !== 0x0a) {
    throw malformed('a record is not "LENGTH KEYWORD=VALUE" and a newline')
  }
  const keyword = record.toString('latin1', start, equals)
  if (keyword.includes('\0')) throw malformed('a keyword holds a NUL')
  return { keyword, value: record.subarray(equals + 1, record.length - 1) }
}

export function encodePax(records: readonly PaxRecord[]): Buffer {
  return Buffer.concat(records.map(encodeRecord))
}

function encodeRecord({ keyword, value }: PaxRecord): Buffer {
  const rest = keyword.length + value.length + 3
  let length = rest + String(rest).length
  // One digit more may make the length itself one digit longer.
  length = rest + String(length).length
  return Buffer.concat([
    Buffer.from(`${length} ${keyword}=`, 'latin1'),
    value,
    Buffer.from('\n', 'latin1'),
  ])
}

/** A decimal that JavaScript holds exactly; `invalid` otherwise. */
export function parsePaxInteger({ keyword, value }: PaxRecord): number {
  const digits = value.toString('latin1')
  const number = /^-?[0-9]{1,16}$/.test(digits) ? Number(digits) : Number.NaN
  if (!Number.isSafeInteger(number)) throw malformed(`"${keyword}" is not a number we hold`)
  return number
}

/** `-1.25` is 1.25 s before 1970: seconds −2, nanoseconds 750,000,000. Cut below nanoseconds. */
export function parsePaxTime({ keyword, value }: PaxRecord): TarTime {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value.toString('latin1'))
  if (match === null) throw malformed(`"${keyword}" is not a time`)
  const [, sign, whole, fraction = ''] = match
  const seconds = Number(whole)
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (sign === '') return { seconds, nanoseconds }
  if (nanoseconds === 0) return { seconds: 0 - seconds, nanoseconds: 0 }
  return { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }
}

export function formatPaxTime({ seconds, nanoseconds }: TarTime): string {
  if (nanoseconds === 0) return String(seconds)
  const isBefore1970 = seconds < 0
  const whole = isBefore1970 ? -seconds - 1 : seconds
  const fraction = isBefore1970 ? 1_000_000_000 - nanoseconds : nanoseconds
  const digits = String(fraction).padStart(9, '0').replace(/0+$/, '')
  return `${isBefore1970 ? '-' : ''}${whole}.${digits}`
}

function malformed(what: string): OciError {
  return new OciError('invalid', `Cannot read tar extended header: ${what}`)
}
