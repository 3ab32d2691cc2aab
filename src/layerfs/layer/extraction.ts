/**
 * Extraction: places the entries of one layer's tar, in order, into a directory that nobody else
 * writes to. The only code that turns names from a tar into paths.
 *
 * 1. Nothing outside the root is read, changed or linked to: every parent is opened by the kernel
 *    with the root as "/", and every last name is used as it is, links not followed.
 * 2. The result depends on the entries alone: not on the umask, not on the clock.
 * 3. After the last entry: links to files that came later, then the times of directories, which
 *    placing entries in them had changed, and their default ACLs, which would have changed entries.
 */
import { closeSync, ftruncateSync, writeSync } from 'node:fs'
import { hasCode, OciError } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import type { TarBudgets, TarEntry, Xattr } from '../tar/entry.ts'
import type { TakenFiles, TarVisitor } from '../tar/reader.ts'
import {
  type Attributes,
  createFileAt,
  isPortable,
  setAttributesAt,
  setFileAttributes,
  setLinkAttributesAt,
  xattrsAt,
} from './attributes.ts'
import { apartFromDefaultAcl } from './default-acls.ts'
import { type Meaning, meaningOf, plinkDirectory } from './entry-name.ts'
import { fileType, isDirectory, isSymlink, openAs } from './file-type.ts'
import { linkFile, type PendingLink, retryLinks } from './link-entry.ts'
import { NameBudget } from './name-budget.ts'
import { procPath } from './open-in-root.ts'
import { ParentDirectories } from './parent-directories.ts'
import {
  assertDepth,
  bytesOf,
  nameOf,
  parentOf,
  type SafePath,
  safePath,
  shown,
} from './path-bytes.ts'
import { removeTree } from './remove-tree.ts'
import type { Spot, TreeFormat } from './tree-format.ts'
import { findAt } from './walk-in-root.ts'

export interface ExtractionOptions {
  /** The directory, as an O_PATH descriptor; stays the caller's. */
  readonly rootFd: number
  readonly format: TreeFormat
  readonly budgets: Pick<TarBudgets, 'depth' | 'names'>
}

/** A file's entry was read; its content comes. */
interface PendingFile {
  readonly spot: Spot
  readonly entry: TarEntry
  /** Once it is created, because its content does not come at once. */
  fd: number | undefined
  end: number
}

export class Extraction implements TarVisitor, Disposable {
  readonly #options: ExtractionOptions
  readonly #parents: ParentDirectories
  readonly #format: TreeFormat
  readonly #names: NameBudget
  #links: PendingLink[] = []
  #file: PendingFile | undefined
  /** Where the last plain file is, as the tar has it and as we do: most that follow are there too. */
  #siblings: { readonly directory: Buffer; readonly path: SafePath } | undefined
  #hasRootEntry = false
  #hasForwardLinks = false
  #entries = 0

  constructor(options: ExtractionOptions) {
    this.#options = options
    this.#format = options.format
    this.#names = new NameBudget(options.budgets.names)
    const { rootFd, format } = options
    this.#parents = new ParentDirectories(rootFd, { format, names: this.#names })
  }

  get entries(): number {
    return this.#entries
  }

  /** Whether the tar said what the root itself is like. */
  get hasRootEntry(): boolean {
    return this.#hasRootEntry
  }

  /** Whether a hard link stood before the file it names. */
  get hasForwardLinks(): boolean {
    return this.#hasForwardLinks
  }

  onEntry(entry: TarEntry): void {
    this.#entries += 1
    const path = safePath(entry.path)
    assertDepth(path, this.#options.budgets.depth)
    explaining(path, () => this.#apply(meaningOf(path), path, entry))
  }

  onData(chunk: Buffer, offset: number): void {
    const file = this.#file
    if (file === undefined) return
    explaining(file.spot.path, () => {
      if (chunk.length === file.entry.size) {
        this.#createWhole(file, chunk)
        return
      }
      file.fd ??= this.#createOpen(file)
      writeAll(file.fd, chunk, offset)
      file.end = offset + chunk.length
    })
  }

  onEnd(): void {
    const file = this.#file
    if (file === undefined) return
    explaining(file.spot.path, () => this.#complete(file))
  }

  takeFiles(archive: Buffer): TakenFiles {
    if (this.#siblings === undefined || this.#format.wantsEachFile) return noFiles
    const { directory, path } = this.#siblings
    const dirFd = this.#parents.find(path)
    if (dirFd === undefined) return noFiles
    const size = syscalls().placeFiles(dirFd, directory, archive, counts)
    const [files = 0, content = 0] = counts
    this.#entries += files
    return { files, content, size }
  }

  /** The links that no file was found for: to files of lower layers, or to nothing. */
  finish(): PendingLink[] {
    this.#hasForwardLinks = this.#links.length > 0
    this.#links = retryLinks(this.#links, link => this.#hardlink(link))
    this.#format.onLastEntry()
    removeTree(this.#options.rootFd, plinkDirectory)
    this.#parents.restore()
    return this.#links
  }

  [Symbol.dispose](): void {
    this.#parents[Symbol.dispose]()
    if (this.#file?.fd !== undefined) closeSync(this.#file.fd)
  }

  #apply(meaning: Meaning, path: SafePath, entry: TarEntry): void {
    switch (meaning.kind) {
      case 'content':
        if (path === '') this.#applyRoot(entry)
        else this.#place(entry, path)
        return
      case 'whiteout':
        this.#names.spend(path)
        this.#format.whiteout(meaning.path)
        return
      case 'opaque':
        this.#names.spend(path)
        this.#format.opaque(meaning.path)
        return
      default:
        return
    }
  }

  /** The root entry: attributes, never another type (row A13, the class of CVE-2021-29136). */
  #applyRoot(entry: TarEntry): void {
    if (entry.type !== 'directory') {
      throw new OciError('invalid', `Cannot make the root a ${entry.type}`)
    }
    this.#hasRootEntry = true
    const { attributes, defaultAcl } = apartFromDefaultAcl(this.#attributesOf(entry))
    setAttributesAt(this.#options.rootFd, '.', attributes)
    if (defaultAcl !== undefined) this.#parents.setDefaultAcl('' as SafePath, defaultAcl)
    this.#parents.setTime('' as SafePath, entry.mtime)
  }

  #place(entry: TarEntry, path: SafePath): void {
    const fd = this.#parents.open(parentOf(path), entry.mtime)
    const spot: Spot = { fd, name: nameOf(path), path }
    if (entry.type === 'file') {
      this.#file = { spot, entry, fd: undefined, end: 0 }
      this.#siblings = siblingsOf(entry.path, path)
      return
    }
    this.#create(entry, spot)
    this.#format.onPlaced(spot)
  }

  #create(entry: TarEntry, spot: Spot): void {
    switch (entry.type) {
      case 'directory':
        this.#createDirectory(entry, spot)
        return
      case 'symlink':
        this.#replacing(spot, () =>
          syscalls().symlinkat(entry.linkPath, spot.fd, bytesOf(spot.name)),
        )
        setLinkAttributesAt(spot.fd, spot.name, this.#attributesOf(entry))
        return
      case 'hardlink': {
        const link: PendingLink = { path: spot.path, target: safePath(entry.linkPath), entry }
        if (this.#hardlink(link)) return
        this.#names.spend(link.path)
        this.#names.spend(link.target)
        this.#links.push(link)
        return
      }
      default:
        this.#createNode(entry, spot)
    }
  }

  /** With all of its content, in one call. */
  #createWhole({ spot, entry }: PendingFile, content: Uint8Array): void {
    this.#file = undefined
    const file = { content, attributes: this.#attributesOf(entry) }
    this.#replacing(spot, () => createFileAt(spot.fd, spot.name, file))
    this.#format.onPlaced(spot)
  }

  #createOpen({ spot }: PendingFile): number {
    const fd = this.#replacing(spot, () =>
      syscalls().openat2(spot.fd, bytesOf(spot.name), [openAs.creating, 0o600, 0]),
    )
    this.#format.onPlaced(spot)
    return fd
  }

  #complete(file: PendingFile): void {
    const { entry, end } = file
    if (entry.size === 0) {
      this.#createWhole(file, noContent)
      return
    }
    file.fd ??= this.#createOpen(file)
    // A hole at the end has no bytes that would have made the file long enough.
    if (end < entry.size) ftruncateSync(file.fd, entry.size)
    setFileAttributes(file.fd, this.#attributesOf(entry))
    this.#file = undefined
    closeSync(file.fd)
  }

  #createDirectory(entry: TarEntry, spot: Spot): void {
    const { attributes, defaultAcl } = apartFromDefaultAcl(this.#attributesOf(entry))
    try {
      syscalls().mkdirat(spot.fd, bytesOf(spot.name), 0o700)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      this.#mergeDirectory(spot, attributes)
    }
    setAttributesAt(spot.fd, spot.name, attributes)
    this.#parents.setDefaultAcl(spot.path, defaultAcl)
    this.#parents.setTime(spot.path, entry.mtime)
  }

  /** A directory over a directory keeps what is in it; over anything else it replaces it (A9). */
  #mergeDirectory(spot: Spot, attributes: Attributes): void {
    const existing = findAt(spot.fd, spot.name)
    if (existing !== undefined && isDirectory(existing)) {
      const kept = new Set(attributes.xattrs.map(xattr => xattr.name.toString('latin1')))
      for (const { name } of xattrsAt(spot.fd, spot.name)) {
        if (kept.has(name.toString('latin1')) || !isPortable(name)) continue
        syscalls().lremovexattr(procPath(spot.fd, spot.name), name)
      }
      return
    }
    this.#remove(spot)
    syscalls().mkdirat(spot.fd, bytesOf(spot.name), 0o700)
    this.#format.onReplacedByDirectory(spot)
  }

  #createNode(entry: TarEntry, spot: Spot): void {
    if (entry.type === 'character-device' && entry.devMajor === 0 && entry.devMinor === 0) {
      this.#replacing(spot, () => this.#format.createNullDevice(spot, entry))
      setAttributesAt(spot.fd, spot.name, this.#attributesOf(entry))
      return
    }
    const { devMajor, devMinor } = entry
    if (devMajor > maxDevice.major || devMinor > maxDevice.minor) {
      throw new OciError('invalid', `Linux has no device ${devMajor}:${devMinor}`)
    }
    const node = [nodeTypes[entry.type] ?? 0, devMajor, devMinor] as const
    try {
      this.#replacing(spot, () => syscalls().mknodat(spot.fd, bytesOf(spot.name), node))
    } catch (error) {
      // Inside a user namespace nobody makes devices; the image is usable without (row A25).
      if (hasCode(error, 'EPERM') && entry.type !== 'fifo') return
      throw error
    }
    setAttributesAt(spot.fd, spot.name, this.#attributesOf(entry))
  }

  /** Runs `make`, and when something stands in its place, removes that first (rows A2, A9). */
  #replacing<T>(spot: Spot, make: () => T): T {
    try {
      return make()
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
    this.#remove(spot)
    return make()
  }

  #remove(spot: Spot): void {
    const existing = findAt(spot.fd, spot.name)
    if (existing === undefined) return
    removeTree(spot.fd, spot.name)
    this.#format.onRemoved(spot.path, isDirectory(existing) ? 'directory' : 'other')
    if (isDirectory(existing) || isSymlink(existing)) {
      this.#parents.forgetBelow(spot.path)
    }
  }

  /** Whether the link could be made: its target exists. */
  #hardlink(link: PendingLink): boolean {
    return linkFile(link, {
      find: path => {
        const fd = this.#parents.find(parentOf(path))
        return fd === undefined ? undefined : { fd, name: nameOf(path), path }
      },
      open: path => ({
        fd: this.#parents.open(parentOf(path), link.entry.mtime),
        name: nameOf(path),
        path,
      }),
      isContent: spot => this.#format.isContent(spot),
      remove: spot => this.#remove(spot),
      attributesOf: entry => this.#attributesOf(entry),
    })
  }

  #attributesOf(entry: TarEntry): Attributes {
    const { mode, uid, gid, mtime } = entry
    const xattrs: Xattr[] = []
    for (const { name, value } of entry.xattrs) {
      const stored = this.#format.storedXattr(name)
      if (stored !== undefined) xattrs.push({ name: stored, value })
    }
    return { mode, uid, gid, mtime, xattrs }
  }
}

const noContent = Buffer.alloc(0)

/** `undefined` where the last name is none, as in "a/.": what begins alike is not beside it. */
function siblingsOf(raw: Buffer, path: SafePath) {
  const directory = raw.subarray(0, raw.lastIndexOf('/') + 1)
  const parent = parentOf(path)
  return safePath(directory) === parent ? { directory, path: parent } : undefined
}

const noFiles: TakenFiles = { files: 0, content: 0, size: 0 }

/** Of `placeFiles`. */
const counts = new Float64Array(2)

const nodeTypes: Readonly<Record<string, number>> = {
  'character-device': fileType.characterDevice,
  'block-device': fileType.blockDevice,
  fifo: fileType.fifo,
}

function writeAll(fd: number, chunk: Buffer, offset: number): void {
  let done = 0
  while (done < chunk.length) {
    done += writeSync(fd, chunk, done, chunk.length - done, offset + done)
  }
}

/** What the kernel refuses because of the entry is the archive's fault, and says which entry. */
function explaining<T>(path: SafePath, act: () => T): T {
  try {
    return act()
  } catch (cause) {
    if (cause instanceof OciError && cause.message.includes(shown(path))) throw cause
    const code =
      cause instanceof OciError ? cause.code : isSystemFailure(cause) ? 'unavailable' : 'invalid'
    const reason = cause instanceof Error ? cause.message : String(cause)
    const hint = cause instanceof OciError && cause.hint !== undefined ? { hint: cause.hint } : {}
    const message = `Cannot apply layer entry "${shown(path)}": ${reason}`
    throw new OciError(code, message, { cause, ...hint })
  }
}

/** The kernel's dev_t has 12 bits for one and 20 for the other. */
const maxDevice = { major: 0xfff, minor: 0xfffff }

/** The machine's trouble, not the archive's. */
function isSystemFailure(error: unknown): boolean {
  const codes = ['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE', 'ENOMEM', 'EROFS'] as const
  return codes.some(code => hasCode(error, code))
}
