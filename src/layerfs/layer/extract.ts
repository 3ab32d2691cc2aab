/**
 * A local archive unpacked into a root: what ADD does (row C24). Contained as a layer is; what its
 * whiteouts name is removed.
 */
import { closeSync, constants, openSync, readSync, statfsSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import type { Chunks } from '../compression/byte-source.ts'
import { decompress, detectEncoding } from '../compression/decompress.ts'
import { syscalls } from '../native/syscalls.ts'
import { blockSize, defaultBudgets, type TarEntry } from '../tar/entry.ts'
import { decodeHeader } from '../tar/header.ts'
import { TarReader, type TarVisitor } from '../tar/reader.ts'
import { isPortable, setAttributesAt } from './attributes.ts'
import type { CopyEnd } from './copy.ts'
import { Extraction } from './extraction.ts'
import { isFile, openAs } from './file-type.ts'
import { FlatFormat, RememberedPaths } from './flat-format.ts'
import { assertNoDeadLinks } from './link-entry.ts'
import { procPath } from './open-in-root.ts'
import { overlayFormat } from './overlay-format.ts'
import { bytesOf, joinPath, rootPath, type SafePath, safePath } from './path-bytes.ts'

export interface ArchiveOptions {
  /** Absent: the archive's own. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly signal?: AbortSignal
}

const chunkSize = 256 * 1024

/**
 * Unpacks the archive `from` into the directory `to`, made 0755 if it is missing. `not-an-archive`:
 * the file is no tar, packed or not, and nothing was done.
 *
 * Throws `not-found` without the file, `invalid` for an archive that is broken behind its first
 * entry, `unsupported` without the program that unpacks it; what was extracted until then stays.
 */
export async function extractArchive(
  from: CopyEnd,
  to: CopyEnd,
  options: ArchiveOptions = {},
): Promise<'extracted' | 'not-an-archive'> {
  const fd = openRegular(from)
  if (fd === undefined) return 'not-an-archive'
  try {
    const unpacked = iterate(decompress(chunksOf(fd, options.signal), encodingOf(fd)))
    const head = await readHead(unpacked)
    if (head === undefined) return 'not-an-archive'
    await extractInto(to, { head, rest: unpacked }, options)
    return 'extracted'
  } finally {
    closeSync(fd)
  }
}

function openRegular({ root, path }: CopyEnd): number | undefined {
  const found = root.open(path, openAs.anythingFollowed)
  try {
    if (!isFile(syscalls().statx(found, ''))) return undefined
    return openSync(procPath(found), constants.O_RDONLY)
  } finally {
    closeSync(found)
  }
}

function encodingOf(fd: number): ReturnType<typeof detectEncoding> {
  const magic = Buffer.alloc(6)
  return detectEncoding(magic.subarray(0, readSync(fd, magic, 0, magic.length, 0)))
}

function* chunksOf(fd: number, signal: AbortSignal | undefined): Generator<Uint8Array> {
  for (let position = 0; ; ) {
    signal?.throwIfAborted()
    const buffer = Buffer.allocUnsafe(chunkSize)
    const length = readSync(fd, buffer, 0, chunkSize, position)
    if (length === 0) return
    position += length
    yield buffer.subarray(0, length)
  }
}

async function* iterate(chunks: Chunks): AsyncGenerator<Uint8Array> {
  yield* chunks
}

/** The bytes up to the first header at least; `undefined` when they are no tar's. */
async function readHead(chunks: AsyncGenerator<Uint8Array>): Promise<Buffer | undefined> {
  let head = Buffer.alloc(0)
  try {
    while (head.length < blockSize) {
      const next = await chunks.next()
      if (next.done === true) return undefined
      head = Buffer.concat([head, next.value])
    }
    decodeHeader(head.subarray(0, blockSize))
    return head
  } catch (error) {
    // Damaged from the start, or packed but no tar: a file like any other.
    if (!(error instanceof OciError) || error.code !== 'invalid') throw error
    await chunks.return(undefined)
    return undefined
  }
}

interface ArchiveBytes {
  readonly head: Buffer
  readonly rest: AsyncIterable<Uint8Array>
}

async function extractInto(
  { root, path }: CopyEnd,
  { head, rest }: ArchiveBytes,
  { owner }: ArchiveOptions,
): Promise<void> {
  const { uid, gid } = owner ?? { uid: 0, gid: 0 }
  root.mkdirs(path, { mode: 0o755, uid, gid })
  const format = new FlatFormat({
    rootFd: root.fd,
    kind: isOverlay(root.fd) ? 'overlay' : 'plain',
    overlay: overlayFormat(),
    own: new RememberedPaths(),
  })
  using extraction = new Extraction({ rootFd: root.fd, format, budgets: defaultBudgets })
  const archive = new ArchiveEntries(extraction, { destination: safePath(path), owner })
  const reader = new TarReader(archive)
  reader.push(head)
  for await (const chunk of rest) reader.push(chunk)
  reader.end()
  assertNoDeadLinks(extraction.finish())
  if (archive.rootEntry !== undefined) describe({ root, path }, archive.rootEntry)
}

const overlayMagic = 0x794c7630

function isOverlay(fd: number): boolean {
  return statfsSync(procPath(fd, '.')).type === overlayMagic
}

/** Puts the archive's paths below the destination, and gives them the owner that was asked for. */
class ArchiveEntries implements TarVisitor {
  readonly #inner: TarVisitor
  readonly #destination: SafePath
  readonly #owner: ArchiveOptions['owner']
  #rootEntry: TarEntry | undefined

  constructor(
    inner: TarVisitor,
    options: { readonly destination: SafePath; readonly owner: ArchiveOptions['owner'] },
  ) {
    this.#inner = inner
    this.#destination = options.destination
    this.#owner = options.owner
  }

  /** What the archive says of the directory that it is unpacked into. */
  get rootEntry(): TarEntry | undefined {
    return this.#rootEntry
  }

  onEntry(entry: TarEntry): void {
    const owned = { ...entry, ...this.#owner }
    const path = this.#below(entry.path)
    if (path !== this.#destination) {
      const linkPath =
        entry.type === 'hardlink' ? bytesOf(this.#below(entry.linkPath)) : entry.linkPath
      this.#inner.onEntry({ ...owned, path: bytesOf(path), linkPath })
      return
    }
    if (entry.type !== 'directory') {
      throw new OciError('invalid', `Cannot extract archive: its root is a ${entry.type}`)
    }
    this.#rootEntry = owned
  }

  onData(chunk: Buffer, offset: number): void {
    this.#inner.onData(chunk, offset)
  }

  onEnd(): void {
    this.#inner.onEnd()
  }

  #below(path: Buffer): SafePath {
    const relative = safePath(path)
    if (relative === rootPath) return this.#destination
    return joinPath(this.#destination, relative)
  }
}

/** At the very end: what was put into the directory has changed its time. */
function describe({ root, path }: CopyEnd, entry: TarEntry): void {
  const fd = root.open(path, openAs.directory)
  try {
    const xattrs = entry.xattrs.filter(({ name }) => isPortable(name))
    setAttributesAt(fd, '.', { ...entry, xattrs })
  } finally {
    closeSync(fd)
  }
}
