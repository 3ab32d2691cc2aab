/**
 * Diff: the changes in an upper directory as a layer's tar. A pure function of the upper directory
 * and the layers below: the same state gives the same bytes, here and anywhere, today and later, so
 * a tar need not be kept to be sent again.
 *
 * Spec: image-spec layer.md, Representing Changes.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { type DiffId, finishDiffId } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { listingOf } from '../native/listing.ts'
import { openFlags, syscalls } from '../native/syscalls.ts'
import type { EntryType, TarEntry, TarTime, Xattr } from '../tar/entry.ts'
import { contentPadding, encodeEntry, endOfArchive } from '../tar/writer.ts'
import { type Found, openFile, portableXattrs, targetOf } from './compare-files.ts'
import { dataOf, type Range } from './copy-content.ts'
import { type Change, walkChanges } from './diff-walk.ts'
import { fileType, typeMask } from './file-type.ts'
import { opaqueMarker, overlayFormat, whiteoutPrefix } from './overlay-format.ts'
import { bytesOf, joinPath, nameOf, parentOf, shown } from './path-bytes.ts'
import { openRoot } from './rootfs.ts'

export interface DiffRequest {
  /** A layer directory in overlayfs's format; nobody writes to it meanwhile. */
  readonly upper: string
  /** Directories of the layers below, **top first**. */
  readonly lower: readonly string[]
  /** Seconds since 1970: later times become this one (SOURCE_DATE_EPOCH). */
  readonly clampTo?: number
}

export interface HashedDiff {
  readonly diffId: DiffId
  /** Bytes of the tar. */
  readonly size: number
  readonly entries: number
  /** Nothing changed: the tar has no entry. */
  readonly empty: boolean
  /** A check sum of all but the times: where it differs, more than times do. */
  readonly look: string
}

/** Chunks are at least this large, the last one apart: fewer calls for who hashes or compresses. */
const chunkSize = 256 * 1024

/**
 * The tar, in chunks that are the consumer's to keep. Memory does not grow with its size. Throws
 * `unsupported` for a name that a layer cannot hold, `conflict` when a file changes while it is
 * read, `not-found` for a missing directory.
 */
export function* diffLayer(request: DiffRequest): Generator<Uint8Array> {
  yield* coalesced(tarParts(request))
}

/**
 * What {@link diffLayer} would give, hashed; other work goes on in between. Throws the same, and soon
 * after the first element of `stop` becomes other than 0.
 */
export async function hashDiff(request: DiffRequest, stop?: Int32Array): Promise<HashedDiff> {
  const limit = Number.POSITIVE_INFINITY
  const hashed = await hashDiffUpTo(request, { limit, ...(stop === undefined ? {} : { stop }) })
  if (hashed === undefined) throw new Error('A tar is larger than infinity')
  return hashed
}

export interface HashLimits {
  /** Bytes of the tar. */
  readonly limit: number
  /** Hashing ends with an error soon after its first element becomes other than 0. */
  readonly stop?: Int32Array
}

/** As {@link hashDiff}; `undefined` for a tar larger than `limit`, as soon as that is known. */
export async function hashDiffUpTo(
  request: DiffRequest,
  { limit, stop }: HashLimits,
): Promise<HashedDiff | undefined> {
  const hash = createHash('sha256')
  const look = new LayerLook()
  let size = 0
  for (const chunk of coalesced(tarParts(request, look))) {
    if (stop?.[0] === 1) throw new Error('Stopped')
    hash.update(chunk)
    size += chunk.length
    if (size > limit) return undefined
    await setImmediate()
  }
  return {
    diffId: finishDiffId(hash),
    size,
    entries: look.entries,
    empty: look.entries === 0,
    look: look.text,
  }
}

function* tarParts(request: DiffRequest, look?: LayerLook): Generator<Buffer> {
  const upperFd = openUpper(request.upper)
  try {
    // Steps that change nothing are many, and what is below need not be mounted for them.
    const isEmpty = listingOf(upperFd).length === 0
    using below =
      request.lower.length > 0 && !isEmpty
        ? openRoot({ kind: 'overlay', lower: request.lower })
        : undefined
    const trees = { upperFd, lowerFd: below?.fd, format: overlayFormat() }
    const encoder = new ChangeEncoder(request.clampTo, look)
    for (const change of walkChanges(trees)) yield* encoder.encode(change)
    yield endOfArchive()
  } finally {
    closeSync(upperFd)
  }
}

function openUpper(path: string): number {
  try {
    return openSync(path, openFlags.path | constants.O_DIRECTORY | openFlags.closeOnExec)
  } catch (cause) {
    throw new OciError('not-found', `Cannot open layer directory "${path}"`, { cause })
  }
}

/** What {@link HashedDiff.look} is made of. It need not be what nobody can forge: it only tells apart. */
class LayerLook {
  #sum = 0
  #entries = 0

  get entries(): number {
    return this.#entries
  }

  get text(): string {
    return `${this.#entries} ${this.#sum.toString(16)}`
  }

  entry(entry: TarEntry): void {
    const { type, path, linkPath, mode, uid, gid, size, devMajor, devMinor } = entry
    const numbers = [mode, uid, gid, size, devMajor, devMinor].join(' ')
    const names = [type, path.toString('latin1'), linkPath.toString('latin1')].join('\0')
    this.#entries += 1
    this.#sum = crc32(`${names}\0${numbers}\n`, this.#sum)
    for (const { name, value } of entry.xattrs) {
      this.#sum = crc32(value, crc32(name, this.#sum))
    }
  }

  content(bytes: Uint8Array): void {
    this.#sum = crc32(bytes, this.#sum)
  }
}

class ChangeEncoder {
  readonly #clampTo: number
  /** Of files with several names: the one that came first. Inodes of one file system. */
  readonly #firstNames = new Map<bigint, Buffer>()

  readonly #look: LayerLook | undefined

  constructor(clampTo: number | undefined, look: LayerLook | undefined) {
    this.#clampTo = clampTo ?? Number.POSITIVE_INFINITY
    this.#look = look
  }

  *encode(change: Change): Generator<Buffer> {
    switch (change.kind) {
      case 'whiteout': {
        const marker = whiteoutPrefix + nameOf(change.path)
        yield this.#header(markerEntry(joinPath(parentOf(change.path), marker)))
        return
      }
      case 'opaque':
        yield this.#header(markerEntry(joinPath(change.path, opaqueMarker)))
        return
      default:
        yield* this.#content(change)
    }
  }

  *#content({ path, found }: Change & { kind: 'content' }): Generator<Buffer> {
    const plain = plainContent(found)
    const entry = this.#entryOf(bytesOf(path), found, plain === undefined ? undefined : [])
    yield this.#header(entry)
    if (entry.type !== 'file' || entry.size === 0) return
    for (const bytes of plain === undefined ? contentOf(found, shown(path)) : [plain]) {
      this.#look?.content(bytes)
      yield bytes
    }
    yield contentPadding(entry.size)
  }

  #header(entry: TarEntry): Buffer {
    this.#look?.entry(entry)
    return encodeEntry(entry)
  }

  /** `xattrs`: those of the file, if they are known. */
  #entryOf(path: Buffer, found: Found, xattrs?: TarEntry['xattrs']): TarEntry {
    const { stat } = found
    const type = typeOf(stat.mode)
    const first = this.#firstNameOf(type, path, found)
    const isDevice = type === 'character-device' || type === 'block-device'
    return {
      type: first === undefined ? type : 'hardlink',
      path: type === 'directory' ? Buffer.concat([path, Buffer.from('/')]) : path,
      linkPath: first ?? (type === 'symlink' ? targetOf(found) : Buffer.alloc(0)),
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      size: type === 'file' && first === undefined ? stat.size : 0,
      mtime: this.#timeOf(stat.mtime),
      devMajor: isDevice ? stat.rdevMajor : 0,
      devMinor: isDevice ? stat.rdevMinor : 0,
      xattrs: xattrs ?? portableXattrs(found).map(independent),
    }
  }

  #firstNameOf(type: EntryType, path: Buffer, { stat }: Found): Buffer | undefined {
    if (type === 'directory' || stat.links < 2) return undefined
    const first = this.#firstNames.get(stat.ino)
    if (first === undefined) this.#firstNames.set(stat.ino, path)
    return first
  }

  /** Whole seconds, rounded down, as every other builder writes them. */
  #timeOf({ seconds }: TarTime): TarTime {
    return { seconds: Math.min(seconds, this.#clampTo), nanoseconds: 0 }
  }
}

function markerEntry(path: string): TarEntry {
  return {
    type: 'file',
    path: bytesOf(path),
    linkPath: Buffer.alloc(0),
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
  }
}

function typeOf(mode: number): EntryType {
  switch (mode & typeMask) {
    case fileType.file:
      return 'file'
    case fileType.directory:
      return 'directory'
    case fileType.symlink:
      return 'symlink'
    case fileType.characterDevice:
      return 'character-device'
    case fileType.blockDevice:
      return 'block-device'
    case fileType.fifo:
      return 'fifo'
    default:
      throw new Error(`Unknown file type in mode ${mode.toString(8)}`)
  }
}

/**
 * File capabilities set inside a user namespace (version 3) name its root's id on this machine;
 * version 2 means root wherever the layer is used. Same bytes but the version and the id (row A22).
 */
function independent(xattr: Xattr): Xattr {
  const { name, value } = xattr
  if (name.toString('latin1') !== 'security.capability' || value.length !== 24) return xattr
  const version2 = Buffer.from(value.subarray(0, 20))
  version2[3] = 2
  return { name, value: version2 }
}

/** Larger files are read in pieces. */
const largestPlain = 64 * 1024

/** What nearly all files are read by: one call. `undefined`: it is to be read as any file. */
function plainContent({ fd, name, stat }: Found): Buffer | undefined {
  const isPlain = (stat.mode & typeMask) === fileType.file && stat.links === 1
  if (!isPlain || stat.size === 0 || stat.size > largestPlain) return undefined
  const content = Buffer.allocUnsafe(stat.size)
  // Of one that became shorter, the long way tells.
  return syscalls().readPlain(fd, bytesOf(name), content) === stat.size ? content : undefined
}

/** Exactly the bytes that the header promised. Holes are zeros that nobody reads. */
function* contentOf({ stat, ...found }: Found, path: string): Generator<Buffer> {
  if (stat.size - stat.blocks * 512 > mostHoles) throw tooManyHoles(path, stat.size)
  const fd = openFile(found)
  try {
    let at = 0
    for (const { start, end } of dataOf(fd, stat)) {
      yield* zeros(start - at)
      yield* dataIn(fd, { start, end }, path)
      at = end
    }
    yield* zeros(stat.size - at)
  } finally {
    closeSync(fd)
  }
}

function* dataIn(fd: number, { start, end }: Range, path: string): Generator<Buffer> {
  for (let at = start; at < end; ) {
    const buffer = Buffer.allocUnsafe(Math.min(end - at, chunkSize))
    const length = readSync(fd, buffer, 0, buffer.length, at)
    if (length === 0) {
      throw new OciError('conflict', `Cannot read "${path}": it became shorter meanwhile`)
    }
    at += length
    yield buffer.subarray(0, length)
  }
}

/** Written out they would take hours, and be refused by who unpacks them. */
const mostHoles = 2 ** 40

function tooManyHoles(path: string, size: number): OciError {
  return new OciError(
    'too-large',
    `Cannot store "${path}" in a layer: it has ${size} bytes, nearly all of them holes, which a layer has as zeros`,
    { hint: 'make it smaller, or remove it, in the step that makes it' },
  )
}

const zeroChunk = Buffer.alloc(chunkSize)

function* zeros(length: number): Generator<Buffer> {
  for (let left = length; left > 0; left -= chunkSize) {
    yield left < chunkSize ? zeroChunk.subarray(0, left) : zeroChunk
  }
}

function* coalesced(parts: Iterable<Buffer>): Generator<Uint8Array> {
  let held: Buffer[] = []
  let length = 0
  for (const part of parts) {
    held.push(part)
    length += part.length
    if (length < chunkSize) continue
    yield held.length === 1 ? part : Buffer.concat(held, length)
    held = []
    length = 0
  }
  if (length > 0) yield Buffer.concat(held, length)
}
