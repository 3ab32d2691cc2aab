/**
 * The writing side: an entry's header bytes, its padding, the end of an archive.
 *
 * Reproducible: the bytes depend on the entry alone. ustar wherever it can say it, a PAX header in
 * front where it cannot, records sorted; no access or change time, no user names.
 */
import { blockSize, type EntryType, paddingOf, type TarEntry } from './entry.ts'
import { fitsNumber } from './fields.ts'
import { encodeHeader, type Header, splitPath } from './header.ts'
import { encodePax, formatPaxTime, type PaxRecord } from './pax.ts'

const flags: Readonly<Record<EntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
}

/** Header blocks of `entry`; `entry.size` bytes of content and {@link contentPadding} follow. */
export function encodeEntry(entry: TarEntry): Buffer {
  const header: Header = {
    flag: flags[entry.type],
    path: entry.path,
    linkPath: entry.linkPath,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    size: entry.type === 'file' ? entry.size : 0,
    mtime: entry.mtime.seconds,
    devMajor: entry.devMajor,
    devMinor: entry.devMinor,
  }
  const records = recordsOf(entry, header)
  if (records.length === 0) return encodeFitting(header)
  const pax = encodePax(records)
  return Buffer.concat([
    encodeFitting(paxHeader(entry, pax.length)),
    pax,
    contentPadding(pax.length),
    encodeFitting(header),
  ])
}

/** Nobody's to change. */
export function contentPadding(size: number): Buffer {
  return zeroBlock.subarray(0, paddingOf(size))
}

const zeroBlock = Buffer.alloc(blockSize)

export function endOfArchive(): Buffer {
  return Buffer.alloc(2 * blockSize)
}

function paxHeader(entry: TarEntry, size: number): Header {
  const name = entry.path.subarray(entry.path.lastIndexOf(0x2f, -2) + 1)
  return {
    flag: 'x',
    path: Buffer.concat([Buffer.from('PaxHeaders.0/'), asciiOf(name).subarray(0, 80)]),
    linkPath: Buffer.alloc(0),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size,
    mtime: 0,
    devMajor: 0,
    devMinor: 0,
  }
}

function recordsOf(entry: TarEntry, header: Header): PaxRecord[] {
  const records: PaxRecord[] = []
  const add = (keyword: string, value: string | Buffer): void => {
    records.push({ keyword, value: Buffer.from(value) })
  }
  if (!isAscii(entry.path) || splitPath(entry.path) === undefined) add('path', entry.path)
  if (!isAscii(entry.linkPath) || entry.linkPath.length > 100) add('linkpath', entry.linkPath)
  if (!fitsNumber('uid', entry.uid)) add('uid', String(entry.uid))
  if (!fitsNumber('gid', entry.gid)) add('gid', String(entry.gid))
  if (!fitsNumber('size', header.size)) add('size', String(header.size))
  if (!fitsNumber('mtime', entry.mtime.seconds) || entry.mtime.nanoseconds !== 0) {
    add('mtime', formatPaxTime(entry.mtime))
  }
  if (!fitsNumber('devMajor', entry.devMajor)) add('SCHILY.devmajor', String(entry.devMajor))
  if (!fitsNumber('devMinor', entry.devMinor)) add('SCHILY.devminor', String(entry.devMinor))
  for (const { name, value } of entry.xattrs) add(`SCHILY.xattr.${name.toString('latin1')}`, value)
  return records.sort((a, b) => (a.keyword < b.keyword ? -1 : 1))
}

/** What the block cannot say is said by the records in front of it: here it is cut or zero. */
function encodeFitting(header: Header): Buffer {
  const path = isAscii(header.path) ? header.path : asciiOf(header.path)
  const link = isAscii(header.linkPath) ? header.linkPath : asciiOf(header.linkPath)
  const orZero = (key: 'uid' | 'gid' | 'size' | 'mtime' | 'devMajor' | 'devMinor'): number =>
    fitsNumber(key, header[key]) ? header[key] : 0
  const fitting: Header = {
    ...header,
    linkPath: link.subarray(0, 100),
    uid: orZero('uid'),
    gid: orZero('gid'),
    size: orZero('size'),
    mtime: orZero('mtime'),
    devMajor: orZero('devMajor'),
    devMinor: orZero('devMinor'),
  }
  return encodeHeader(
    fitting,
    splitPath(path) ?? { name: path.subarray(0, 100), prefix: Buffer.alloc(0) },
  )
}

function isAscii(bytes: Buffer): boolean {
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] as number
    if (byte === 0 || byte >= 0x80) return false
  }
  return true
}

function asciiOf(bytes: Buffer): Buffer {
  return Buffer.from(bytes.filter(byte => byte > 0 && byte < 0x80))
}
