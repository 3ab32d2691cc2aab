/**
 * Header block, extended records and long names resolved into one TarEntry.
 *
 * Precedence decides which bytes are content and which are the next header, so readers that differ
 * in it see different archives (the TARmageddon class). Ours: an `x` record beats the block, the
 * last record of a keyword wins, an empty value takes the record back, and combinations on which
 * other readers disagree are refused.
 */
import { OciError } from '../../oci/errors.ts'
import type { EntryType, TarEntry, TarTime, Xattr } from './entry.ts'
import type { Header } from './header.ts'
import { type PaxRecord, parsePaxInteger, parsePaxTime } from './pax.ts'
import { checkedRegions, type Region, recordRegions } from './sparse.ts'

/** What stands before an entry's own header block. */
export interface Extensions {
  readonly pax?: readonly PaxRecord[]
  readonly longPath?: Buffer
  readonly longLink?: Buffer
  /** Of a GNU "S" entry. */
  readonly gnuSparse?: { readonly regions: readonly Region[]; readonly realSize: number }
}

export interface ResolvedEntry {
  readonly entry: TarEntry
  /** Bytes of content in the archive. */
  readonly stored: number
  /** Where they belong; `in-content`: a PAX 1.0 map stands in front of them. */
  readonly regions: readonly Region[] | 'in-content'
}

const typesByFlag: Readonly<Record<string, EntryType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  // Contiguous: a wish about the disk, otherwise a regular file.
  '7': 'file',
  // GNU dump directory: its content is a list of names for incremental backups.
  D: 'directory',
  S: 'file',
}

const none: readonly PaxRecord[] = []
const noLink = Buffer.alloc(0)

/** Throws `invalid`; `unsupported` for a type of entry that we do not know. */
export function resolveEntry(header: Header, extensions: Extensions): ResolvedEntry {
  const records = extensions.pax ?? none
  const pax = lastRecords(records)
  const path = pathOf(header, pax, extensions)
  const linkPath = linkPathOf(header, pax, extensions)
  const type = typeOf(header, path)
  const stored = storedSize(header, pax)
  const content = type === 'file' ? contentOf(stored, { records, pax, extensions }) : noContent
  const entry: TarEntry = {
    type,
    path,
    linkPath: type === 'hardlink' || type === 'symlink' ? linkPath : noLink,
    mode: header.mode,
    uid: ownerOf(pax.get('uid'), header.uid),
    gid: ownerOf(pax.get('gid'), header.gid),
    size: content.size,
    mtime: timeOf(pax.get('mtime'), header.mtime),
    devMajor: deviceNumber(pax.get('SCHILY.devmajor'), header.devMajor),
    devMinor: deviceNumber(pax.get('SCHILY.devminor'), header.devMinor),
    xattrs: xattrsOf(records),
  }
  return {
    entry,
    stored: hasContent(header, { type, stored }) ? stored : 0,
    regions: content.regions,
  }
}

/** By the flag, not by what the entry became: a file called "d/" is a directory, its bytes skipped. */
function hasContent(
  { flag }: Header,
  { type, stored }: { readonly type: EntryType; readonly stored: number },
): boolean {
  // Of a V7 directory with content some readers skip it, others take it for the next header.
  if (flag === '\0' && type === 'directory' && stored > 0) {
    throw new OciError('invalid', 'Cannot read tar entry: a directory of the V7 format has content')
  }
  return !withoutContent.has(flag)
}

/** Whatever size they tell: of a directory it is a quota, of a hard link that of its target. */
const withoutContent = new Set(['1', '2', '3', '4', '5', '6'])

type Records = ReadonlyMap<string, PaxRecord>

const noRecords: Records = new Map()

function lastRecords(records: readonly PaxRecord[]): Records {
  if (records.length === 0) return noRecords
  const last = new Map<string, PaxRecord>()
  for (const record of records) {
    if (record.value.length === 0) last.delete(record.keyword)
    else last.set(record.keyword, record)
  }
  return last
}

function pathOf(header: Header, pax: Records, { longPath }: Extensions): Buffer {
  const record = pax.get('path')
  if (record !== undefined && longPath !== undefined) throw ambiguous('path')
  const sparseName = pax.get('GNU.sparse.name')
  return noNul(sparseName?.value ?? record?.value ?? longPath ?? header.path)
}

function linkPathOf(header: Header, pax: Records, { longLink }: Extensions): Buffer {
  const record = pax.get('linkpath')
  if (record !== undefined && longLink !== undefined) throw ambiguous('link target')
  return noNul(record?.value ?? longLink ?? header.linkPath)
}

function ambiguous(what: string): OciError {
  return new OciError(
    'invalid',
    `Cannot read tar entry: both a GNU and a PAX header give its ${what}`,
  )
}

/** The kernel would cut the name at a NUL: another file than the one that was checked. */
function noNul(name: Buffer): Buffer {
  if (name.includes(0)) throw new OciError('invalid', 'Cannot read tar entry: a name holds a NUL')
  return name
}

function typeOf(header: Header, path: Buffer): EntryType {
  const type = Object.hasOwn(typesByFlag, header.flag) ? typesByFlag[header.flag] : undefined
  if (type === undefined) {
    const code = header.flag.charCodeAt(0).toString(16).padStart(2, '0')
    throw new OciError('unsupported', `Cannot read tar entry: unknown type flag 0x${code}`)
  }
  // V7 had no type for directories.
  return type === 'file' && path.at(-1) === 0x2f ? 'directory' : type
}

function storedSize(header: Header, pax: Records): number {
  const record = pax.get('size')
  const size = record === undefined ? header.size : parsePaxInteger(record)
  if (size < 0) throw new OciError('invalid', 'Cannot read tar entry: its size is negative')
  return size
}

interface Content {
  readonly size: number
  readonly regions: readonly Region[] | 'in-content'
}

const noContent: Content = { size: 0, regions: [] }

interface SparseHints {
  readonly records: readonly PaxRecord[]
  readonly pax: Records
  readonly extensions: Extensions
}

function contentOf(stored: number, { records, pax, extensions }: SparseHints): Content {
  const { gnuSparse } = extensions
  if (gnuSparse !== undefined) {
    const { realSize, regions } = gnuSparse
    return { size: realSize, regions: checkedRegions(regions, { realSize, stored }) }
  }
  const sizeRecord = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size')
  if (sizeRecord === undefined) return { size: stored, regions: wholeFile(stored) }
  const realSize = parsePaxInteger(sizeRecord)
  if (realSize < 0) throw new OciError('invalid', 'Cannot read tar entry: its size is negative')
  if (pax.get('GNU.sparse.major')?.value.toString('latin1') === '1') {
    return { size: realSize, regions: 'in-content' }
  }
  const regions = recordRegions(records) ?? []
  return { size: realSize, regions: checkedRegions(regions, { realSize, stored }) }
}

function wholeFile(size: number): Region[] {
  return size === 0 ? [] : [{ offset: 0, length: size }]
}

/** 2^32−1 means "no change" to chown: a file would keep the extractor's owner. */
function ownerOf(record: PaxRecord | undefined, fallback: number): number {
  const id = record === undefined ? fallback : parsePaxInteger(record)
  if (id < 0 || id >= 0xffffffff) {
    throw new OciError('invalid', `Cannot read tar entry: owner ${id} is outside 0–4294967294`)
  }
  return id
}

function timeOf(record: PaxRecord | undefined, seconds: number): TarTime {
  return record === undefined ? { seconds, nanoseconds: 0 } : parsePaxTime(record)
}

function deviceNumber(record: PaxRecord | undefined, fallback: number): number {
  const value = record === undefined ? fallback : parsePaxInteger(record)
  if (value < 0 || value > 0xffffffff) {
    throw new OciError('invalid', `Cannot read tar entry: device number ${value} is too large`)
  }
  return value
}

const schilyPrefix = 'SCHILY.xattr.'
const libarchivePrefix = 'LIBARCHIVE.xattr.'

const noXattrs: readonly Xattr[] = []

/** SCHILY's values are the bytes themselves and win; libarchive's are base64 under an escaped name. */
function xattrsOf(records: readonly PaxRecord[]): readonly Xattr[] {
  if (records.length === 0) return noXattrs
  const values = new Map<string, Buffer>()
  for (const { keyword, value } of records) {
    if (!keyword.startsWith(libarchivePrefix)) continue
    const name = unescapeName(keyword.slice(libarchivePrefix.length))
    values.set(name, Buffer.from(value.toString('latin1'), 'base64'))
  }
  for (const { keyword, value } of records) {
    if (keyword.startsWith(schilyPrefix)) values.set(keyword.slice(schilyPrefix.length), value)
  }
  return [...values].map(([name, value]) => ({ name: Buffer.from(name, 'latin1'), value }))
}

function unescapeName(name: string): string {
  return name.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number(`0x${hex}`)))
}
