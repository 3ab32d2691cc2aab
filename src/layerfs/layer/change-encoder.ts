/**
 * ChangeEncoder: changes as entries of a tar. Files that one ustar header can describe are packed many
 * at a time (`addon/pack-files.c`), which gives the same bytes; all others, and those that turn out to
 * be something else, one by one.
 */
import { closeSync, readSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { OciError } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import {
  blockSize,
  type EntryType,
  paddingOf,
  type TarEntry,
  type TarTime,
  type Xattr,
} from '../tar/entry.ts'
import { encodeEntry } from '../tar/writer.ts'
import { type Found, openFile, portableXattrs, targetOf } from './compare-files.ts'
import { dataOf } from './copy-content.ts'
import { type Change, type ContentChange, type FileRun, filesOf } from './diff-walk.ts'
import { fileType, isFile, typeMask } from './file-type.ts'
import type { LayerLook } from './layer-look.ts'
import { opaqueMarker, whiteoutPrefix } from './overlay-format.ts'
import { bytesOf, joinPath, nameOf, parentOf, rootPath, shown } from './path-bytes.ts'
import type { TarChunks } from './tar-chunks.ts'
import { findAt } from './walk-in-root.ts'

export interface EncodeOptions {
  /** Seconds since 1970. */
  readonly clampTo?: number | undefined
  readonly look?: LayerLook | undefined
  /** What has extended attributes, or is no longer as it was found, is refused: {@link NotPlain}. */
  readonly isPlain?: boolean
}

/** What is on no disk. */
export interface MadeEntry {
  readonly kind: 'made'
  readonly entry: TarEntry
}

export type EncodedChange = Change | FileRun | MadeEntry

/** There is more to it than who asked is prepared for. */
export class NotPlain extends Error {}

/** As late as no file is. */
const never = Number.MAX_SAFE_INTEGER

const epoch: TarTime = { seconds: 0, nanoseconds: 0 }

export class ChangeEncoder {
  readonly #chunks: TarChunks
  readonly #clampTo: number
  readonly #look: LayerLook | undefined
  readonly #isPlain: boolean
  /** Of files with several names: the one that came first. Inodes of one file system. */
  readonly #firstNames = new Map<bigint, Buffer>()

  constructor(chunks: TarChunks, { clampTo = never, look, isPlain = false }: EncodeOptions) {
    this.#chunks = chunks
    this.#clampTo = clampTo
    this.#look = look
    this.#isPlain = isPlain
  }

  /** Gives the chunks that become full. */
  *encode(change: EncodedChange): Generator<Buffer> {
    switch (change.kind) {
      case 'whiteout': {
        const marker = whiteoutPrefix + nameOf(change.path)
        yield* this.#header(markerEntry(joinPath(parentOf(change.path), marker)))
        return
      }
      case 'opaque':
        yield* this.#header(markerEntry(joinPath(change.path, opaqueMarker)))
        return
      case 'files':
        yield* this.#files(change)
        return
      case 'made':
        yield* this.#header(change.entry)
        return
      default:
        yield* this.#content(change)
    }
  }

  *#files(run: FileRun): Generator<Buffer> {
    for (let { start } = run; start < run.end; ) {
      const { count, isPacked } = this.#pack({ ...run, start })
      const end = start + Math.max(count, 1)
      if (count === 0 && this.#hasRoomLater(run.listing.size(start))) yield this.#chunks.take()
      else {
        if (!isPacked)
          for (const each of filesOf({ ...run, start, end })) yield* this.#content(each)
        start = end
      }
    }
  }

  /** As many as there is room for, up to one that needs more than a header: all of them, or none. */
  #pack({ path, fd, listing, start, end }: FileRun): { count: number; isPacked: boolean } {
    const { room } = this.#chunks
    const directory = bytesOf(path === rootPath ? '' : `${path}/`)
    const entries = listing.entries(start, end)
    const headers = (latest: number) => syscalls().tarHeaders(entries, directory, latest, room)
    const starts = headers(this.#look === undefined ? this.#clampTo : 0)
    const count = starts.length - 1
    if (count === 0 || !syscalls().readFiles([fd, entries], starts, room)) {
      return { count, isPacked: false }
    }
    const size = starts[count] ?? 0
    if (this.#look !== undefined) {
      this.#look.entries(count, room.subarray(0, size))
      headers(this.#clampTo)
    }
    this.#chunks.fill(size)
    return { count, isPacked: true }
  }

  #hasRoomLater(size: number): boolean {
    const { room, isBegun } = this.#chunks
    return isBegun && room.length < size + 2 * blockSize
  }

  *#content({ path, found }: ContentChange): Generator<Buffer> {
    if (this.#isPlain && isFile(found.stat) && !looksSame(found)) throw new NotPlain()
    const entry = this.#entryOf(bytesOf(path), found)
    yield* this.#header(entry)
    if (entry.type === 'file' && entry.size > 0) yield* this.#bytesOf(found, shown(path))
  }

  *#header(entry: TarEntry): Generator<Buffer> {
    this.#look?.entries(1, encodeEntry({ ...entry, mtime: epoch }))
    yield* this.#chunks.add(encodeEntry(entry))
  }

  /** Exactly the bytes that the header promised. Holes are zeros that nobody reads. */
  *#bytesOf({ stat, ...found }: Found, path: string): Generator<Buffer> {
    if (stat.size - stat.blocks * 512 > mostHoles) throw tooManyHoles(path, stat.size)
    const fd = openFile(found)
    try {
      let at = 0
      for (const { start, end } of dataOf(fd, stat)) {
        yield* this.#zeros(start - at)
        yield* this.#write(end - start, (room, done) =>
          readSome(fd, { room, at: start + done, path }),
        )
        at = end
      }
      yield* this.#zeros(stat.size - at + paddingOf(stat.size))
    } finally {
      closeSync(fd)
    }
  }

  #zeros(length: number): Generator<Buffer> {
    return this.#write(length, room => room.fill(0).length)
  }

  #write(length: number, put: (room: Buffer, done: number) => number): Generator<Buffer> {
    return this.#chunks.write(length, (room, done) => {
      const written = put(room, done)
      this.#look?.bytes(room.subarray(0, written))
      return written
    })
  }

  #entryOf(path: Buffer, found: Found): TarEntry {
    const { stat } = found
    const type = typeOf(stat.mode)
    const first = this.#firstNameOf(type, path, found)
    const isDevice = type === 'character-device' || type === 'block-device'
    const xattrs = portableXattrs(found).map(independent)
    if (this.#isPlain && xattrs.length > 0) throw new NotPlain()
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
      xattrs,
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

function looksSame({ fd, name, stat }: Found): boolean {
  const now = findAt(fd, name)
  return now !== undefined && isDeepStrictEqual([now.ctime, now.size], [stat.ctime, stat.size])
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
    mtime: epoch,
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

interface Reading {
  readonly room: Buffer
  readonly at: number
  /** For messages. */
  readonly path: string
}

function readSome(fd: number, { room, at, path }: Reading): number {
  const length = readSync(fd, room, 0, room.length, at)
  if (length > 0) return length
  throw new OciError('conflict', `Cannot read "${path}": it became shorter meanwhile`)
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
