/**
 * Root: a filesystem state of an image, opened. Every path is resolved inside it: "/" is the root,
 * links included, ".." ends there. Nothing an image contains leads outside.
 */
import {
  close as closeFd,
  closeSync,
  constants,
  openSync,
  readlinkSync,
  readSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { RootMount } from '../mount.ts'
import { type FileStat, type Name, syscalls } from '../native/syscalls.ts'
import { isOverlay, openMount } from './detached-mount.ts'
import { openUnlessMissing } from './directory-cache.ts'
import { isDirectory, isFile, openAs } from './file-type.ts'
import { openInRoot, openWithoutLinks, procPath } from './open-in-root.ts'
import { overlayUse } from './overlay-use.ts'
import { latin1Of, type SafePath, safePath, shown } from './path-bytes.ts'
import {
  createDirectory,
  type DirectoryAttributes,
  findAt,
  type LastLink,
  type Place,
  walkTo,
} from './walk-in-root.ts'

export interface Root extends Disposable, AsyncDisposable {
  /** The root directory, as an O_PATH descriptor. */
  readonly fd: number
  /** `undefined` when there is nothing at `path`. */
  find(path: Name, last: LastLink): FileStat | undefined
  /** Throws `not-found`. */
  stat(path: Name, last: LastLink): FileStat
  exists(path: Name): boolean
  /**
   * A regular file of at most `maxSize` bytes, links followed. Throws `not-found`, `too-large`, and
   * `invalid` for anything else than a file: a FIFO or device in its place neither blocks nor acts
   * (the class of CVE-2024-9676).
   */
  readFile(path: Name, maxSize: number): Buffer
  /** The same; `undefined` when there is nothing. */
  findFile(path: Name, maxSize: number): Buffer | undefined
  /** A descriptor of what is at `path`, links followed. The caller closes it. Throws `not-found`. */
  open(path: Name, flags: number): number
  /**
   * The directory that holds, or would hold, `path`, and the name in it. With `follow`, links at
   * the end are resolved first, also dangling ones. Missing directories on the way are created
   * when `missing` says how, otherwise `not-found`. The caller disposes.
   */
  openParent(path: Name, last: LastLink, missing?: DirectoryAttributes): Place
  /**
   * Makes `path` a directory, with all that are missing above it. Says whether `path` itself was
   * created; what exists is left as it is. Throws `invalid` when something else stands there.
   */
  mkdirs(path: Name, attributes: DirectoryAttributes): boolean
  /**
   * The same open directory in the layer that is written to: overlayfs takes twice the time of the
   * file system below it to make a file. Only for a directory that was made through this root: all
   * that it shows stands there. The caller closes it. `undefined` where there is no such layer.
   */
  openInLayer(fd: number): number | undefined
}

/**
 * Opens `mount` without mounting it anywhere: the overlay lives as long as this process holds it.
 * Throws `not-found` for a missing directory.
 */
export function openRoot(mount: RootMount): Root {
  return rootOf(openMount(mount), mount)
}

/**
 * What a layer shows that nothing was written to yet, without mounting it to be written to: that the
 * kernel allows only when the last such mount is gone. `undefined` where only a copy shows it.
 */
export function openUnwritten(mount: RootMount): Root | undefined {
  if (mount.kind !== 'overlay' || mount.lower.length === 0 || overlayUse() === 'copy') {
    return undefined
  }
  return openRoot({ kind: 'overlay', lower: mount.lower })
}

/**
 * The kernel refuses to mount a writable layer again that was mounted `volatile`, lest a crash went
 * unnoticed. There was none: what is written belongs to this process, and is thrown away if it dies.
 */
function allowNextMount(mount: RootMount): void {
  if (mount.kind !== 'overlay' || mount.work === undefined) return
  rmSync(join(mount.work, 'work/incompat'), { recursive: true, force: true })
}

/** Takes over `fd`. */
function rootOf(fd: number, mount: RootMount): Root {
  const open = (path: Name, flags: number): number => {
    try {
      return openInRoot(fd, safePath(path), flags)
    } catch (error) {
      throw translated(error, path)
    }
  }
  /** Not by way of an error that says what is missing: every step asks for what few images have. */
  const openIfThere = (path: Name, flags: number): number | undefined => {
    try {
      return openInRoot(fd, safePath(path), flags)
    } catch (error) {
      if (isMissing(error)) return undefined
      throw translated(error, path)
    }
  }
  const find = (path: Name, last: LastLink): FileStat | undefined => {
    const found = openIfThere(path, last === 'follow' ? openAs.anythingFollowed : openAs.anything)
    return found === undefined ? undefined : withFd(found, each => syscalls().statx(each, ''))
  }
  const findFile = (path: Name, maxSize: number): Buffer | undefined => {
    const found = openIfThere(path, openAs.anythingFollowed)
    return found === undefined
      ? undefined
      : withFd(found, each => readRegular(each, { path, maxSize }))
  }
  const stat = (path: Name, last: LastLink): FileStat => {
    const found = find(path, last)
    if (found === undefined) throw notFound(path)
    return found
  }
  const close = (): void => {
    // Unmounting, the kernel waits for its other processors; for what nobody writes to, we do not.
    if (isOverlay(mount) && mount.upper === undefined) closeFd(fd, () => {})
    else closeSync(fd)
    allowNextMount(mount)
  }
  return {
    fd,
    find,
    stat,
    open,
    exists: path => find(path, 'follow') !== undefined,
    findFile,
    readFile: (path, maxSize) => {
      const content = findFile(path, maxSize)
      if (content === undefined) throw notFound(path)
      return content
    },
    openParent: (path, last, missing) => walkTo(fd, safePath(path), { last, missing }),
    mkdirs: (path, attributes) => makeDirectory(fd, safePath(path), attributes),
    openInLayer: opened => openInUpper(opened, mount),
    [Symbol.dispose]: close,
    [Symbol.asyncDispose]: async () => close(),
  }
}

/** By the kernel's name of it, which of a mount that is mounted nowhere begins at its root. */
function openInUpper(fd: number, mount: RootMount): number | undefined {
  if (!isOverlay(mount) || mount.upper === undefined || overlayUse() === 'copy') return undefined
  const path = latin1Of(readlinkSync(procPath(fd), { encoding: 'buffer' }))
  const layer = openSync(mount.upper, openAs.directory)
  const found = withFd(layer, () =>
    openUnlessMissing(() => openWithoutLinks(layer, safePath(path), openAs.directoryNoFollow)),
  )
  if (found === undefined || hasSameInode(fd, found)) return found
  closeSync(found)
  return undefined
}

/** Where all layers are on one file system, as they are in a store, overlayfs shows its numbers. */
function hasSameInode(one: number, other: number): boolean {
  return syscalls().statx(one, '').ino === syscalls().statx(other, '').ino
}

interface Reading {
  readonly path: Name
  readonly maxSize: number
}

/** Looks at `fd` (O_PATH: nothing has been opened yet) before it opens the same file for reading. */
function readRegular(fd: number, { path, maxSize }: Reading): Buffer {
  const { size, ...stat } = syscalls().statx(fd, '')
  if (!isFile(stat)) {
    throw new OciError('invalid', `Cannot read "${shownName(path)}": not a regular file`)
  }
  const reading = openSync(procPath(fd), constants.O_RDONLY | constants.O_NONBLOCK)
  // One byte more than allowed tells a file that is too large, or grows, from one that fits.
  return withFd(reading, file => readUpTo(file, { limit: maxSize + 1, size, path }))
}

function readUpTo(
  fd: number,
  { limit, size, path }: { readonly limit: number; readonly size: number; readonly path: Name },
): Buffer {
  const tooLarge = (): OciError =>
    new OciError('too-large', `Cannot read "${shownName(path)}": more than ${limit - 1} bytes`)
  if (size >= limit) throw tooLarge()
  const chunks: Buffer[] = []
  let total = 0
  for (;;) {
    const chunk = Buffer.alloc(Math.min(limit - total, Math.max(size, 4096)))
    const count = readSync(fd, chunk)
    if (count === 0) return Buffer.concat(chunks)
    chunks.push(chunk.subarray(0, count))
    total += count
    if (total >= limit) throw tooLarge()
  }
}

function makeDirectory(rootFd: number, path: SafePath, attributes: DirectoryAttributes): boolean {
  using place = walkTo(rootFd, path, { last: 'follow', missing: attributes })
  const existing = findAt(place.fd, place.name)
  if (existing === undefined) {
    createDirectory(place.fd, place.name, attributes)
    return true
  }
  if (isDirectory(existing)) return false
  throw new OciError('invalid', `Cannot create directory "${shown(path)}": a file is there`)
}

function withFd<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

/** What is missing, and what stands where a directory should, are one to who asks for a path. */
function isMissing(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')
}

function translated(error: unknown, path: Name): unknown {
  if (isMissing(error)) return notFound(path, error)
  if (hasCode(error, 'ELOOP') || hasCode(error, 'ENAMETOOLONG')) {
    return new OciError('invalid', `Cannot open "${shownName(path)}" in the image`, {
      cause: error,
    })
  }
  return error
}

function notFound(path: Name, cause?: unknown): OciError {
  return new OciError('not-found', `Cannot find "${shownName(path)}" in the image`, { cause })
}

function shownName(path: Name): string {
  return shown(safePath(path))
}
