/**
 * A local archive unpacked into a root: what ADD does (row C24). Contained as a layer is; what its
 * whiteouts name is removed.
 */
import { closeSync, statfsSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { defaultBudgets, type TarEntry } from '../tar/entry.ts'
import { TarReader, type TarVisitor } from '../tar/reader.ts'
import { type ArchiveBytes, withArchive } from './archive-bytes.ts'
import { isPortable, setAttributesAt } from './attributes.ts'
import type { CopyEnd } from './copy.ts'
import { Extraction } from './extraction.ts'
import { openAs } from './file-type.ts'
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
  return await withArchive(from, options.signal, async archive => {
    await extractInto(to, archive, options)
    return 'extracted' as const
  })
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
