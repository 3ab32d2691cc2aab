/** TreeCopier: the walk behind a copy. Names of the source are opened as they are, never followed. */
import { closeSync } from 'node:fs'
import { hasCode, OciError } from '../../oci/errors.ts'
import { type CopyNumbers, copyStatus, syscalls, type Timestamp } from '../native/syscalls.ts'
import {
  type Attributes,
  setAttributesAt,
  setFileAttributes,
  setLinkAttributesAt,
} from './attributes.ts'
import { type Found, openFile, portableXattrs, targetOf } from './compare-files.ts'
import { copyContent } from './copy-content.ts'
import { type Frame, finish, foundIn, frameOf, type Target } from './copy-frame.ts'
import type { CopyOptions } from './copy-options.ts'
import { copyPlainFiles, isOver } from './copy-plain-files.ts'
import { apartFromDefaultAcl, setDefaultAcl } from './default-acls.ts'
import { findDirectoryAt } from './directory-cache.ts'
import {
  fileType,
  isDirectory,
  isFile,
  isSocket,
  isSymlink,
  openAs,
  typeMask,
} from './file-type.ts'
import { LazyDirectory } from './lazy-directory.ts'
import { maxDepth, tooDeep } from './max-depth.ts'
import { openInRoot } from './open-in-root.ts'
import { bytesOf, joinPath, nameOf, parentOf, type SafePath, shown } from './path-bytes.ts'
import { openListing } from './remove-tree.ts'
import { findAt } from './walk-in-root.ts'

interface TargetName {
  readonly target: Target
  readonly name: string
}

type OpenInLayer = (fd: number) => number | undefined

export interface Destination {
  readonly options: CopyOptions
  /** Its path, for messages. */
  readonly destination: SafePath
  /** `openInLayer` of the root (rootfs.ts) that is copied into. */
  readonly openInLayer?: OpenInLayer
}

export class TreeCopier {
  readonly #topFd: number
  readonly #options: CopyOptions
  readonly #destination: SafePath
  readonly #openInLayer: OpenInLayer
  /** Of source files with several names: where the first copy is. */
  readonly #firstCopies = new Map<string, SafePath>()
  readonly #numbers = new Float64Array(6)
  #entries = 0

  /** `topFd`: the directory that targets' paths are below. */
  constructor(topFd: number, { options, destination, openInLayer }: Destination) {
    this.#topFd = topFd
    this.#options = options
    this.#destination = destination
    this.#openInLayer = openInLayer ?? (() => undefined)
  }

  get entries(): number {
    return this.#entries
  }

  /** No deeper in calls than the tree is deep in directories: whoever makes it decides that. */
  copyContents(sourceFd: number, target: Target): void {
    const frames = [frameOf(openListing(sourceFd, '.'), { target, options: this.#options })]
    try {
      for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
        const { listing, next } = frame
        if (next === 0) this.#copyPlainFiles(frame)
        frame.next += 1
        if (next >= listing.length) {
          frames.pop()
          finish(frame)
          continue
        }
        if (isOver(frame.copied?.[next])) continue
        const found = foundIn(frame, next)
        if (found === undefined) continue
        const inner = this.#copyEntry(found, { target: frame.target, name: found.name })
        if (inner === undefined) continue
        frames.push(inner)
        if (frames.length > maxDepth) throw tooDeep(inner.target.path)
      }
    } finally {
      for (const frame of frames.reverse()) finish(frame)
    }
  }

  /** Throws `invalid` when a directory is in its place (C11). */
  copyFile(found: Found, to: TargetName): void {
    if (isSocket(found.stat) && this.#options.emptySockets !== true) return
    const fd = to.target.directory.open()
    const existing = findAt(fd, to.name)
    if (existing !== undefined) {
      if (isDirectory(existing)) throw this.#isDirectory(to)
      syscalls().unlinkat(fd, bytesOf(to.name), 0)
    }
    if (this.#linkToFirst(found, to) || this.#create(found, to)) this.#entries += 1
  }

  /** Answers the directory that is to be gone into. */
  #copyEntry(found: Found, to: TargetName): Frame | undefined {
    const { stat } = found
    if (this.#options.omit?.(stat) === true) return undefined
    const decision = this.#decide(found, to)
    if (decision === 'drop') return undefined
    if (isDirectory(stat)) return this.#enterDirectory(found, to, decision)
    if (decision === 'keep' && !this.#copyPlain(found, to)) this.copyFile(found, to)
    return undefined
  }

  #decide({ stat }: Found, { target, name }: TargetName): 'keep' | 'drop' | 'descend' {
    const { filter } = this.#options
    if (filter === undefined) return 'keep'
    const path = bytesOf(joinPath(target.path, name)).toString('utf8')
    return filter(path, isDirectory(stat) ? 'directory' : 'other')
  }

  #copyPlainFiles(frame: Frame): void {
    const { directory, path } = frame.target
    frame.copied = copyPlainFiles(frame, this.#options, { path, open: () => directory.open() })
    for (const status of frame.copied ?? []) if (status === copyStatus.done) this.#entries += 1
  }

  /** Whether nothing is left to do: of nearly all files, by one call. */
  #copyPlain({ fd, name, stat }: Found, { target }: TargetName): boolean {
    if (!isFile(stat) || stat.links > 1) return false
    const { mtime, clampTo, owner, mode } = this.#options
    const { seconds, nanoseconds } = mtime ?? { seconds: 0, nanoseconds: 0 }
    if (clampTo !== undefined) return false
    const bits = stat.mode & 0o7777
    const values: CopyNumbers = [
      mode === undefined ? bits : mode(bits, 'other'),
      owner?.uid ?? stat.uid,
      owner?.gid ?? stat.gid,
      seconds,
      nanoseconds,
      mtime === undefined ? 1 : 0,
    ]
    this.#numbers.set(values)
    const status = copyAtOnce([fd, bytesOf(name)], target.directory.open(), this.#numbers)
    if (status === copyStatus.done) this.#entries += 1
    return isOver(status)
  }

  #enterDirectory(found: Found, to: TargetName, decision: 'keep' | 'descend'): Frame | undefined {
    const sourceFd = findDirectoryAt(found.fd, found.name)
    if (sourceFd === undefined) return undefined
    try {
      const target = this.#newTarget(found, to)
      if (decision === 'keep') target.directory.open()
      return frameOf(sourceFd, { target, options: this.#options })
    } catch (error) {
      closeSync(sourceFd)
      throw error
    }
  }

  #newTarget(found: Found, to: TargetName): Target {
    const { directory: parent, path } = to.target
    const directory = new LazyDirectory(parent, fd => this.#makeDirectory(fd, found, to))
    return {
      path: joinPath(path, to.name),
      directory,
      finish: () =>
        directory.finish(fd => {
          const { defaultAcl } = apartFromDefaultAcl(this.#attributesOf(found))
          if (defaultAcl !== undefined) setDefaultAcl(fd, defaultAcl)
          syscalls().utimensat(fd, '', this.#timeOf(found))
        }),
    }
  }

  /** Nested directories get the source's attributes, new or not (C12). The caller closes it. */
  #makeDirectory(parent: number, found: Found, to: TargetName): number {
    const isNew = makeUnlessThere(parent, to.name)
    const fd = findDirectoryAt(parent, to.name)
    if (fd === undefined) throw notADirectory(this.#shownPath(to))
    setAttributesAt(fd, '.', apartFromDefaultAcl(this.#attributesOf(found)).attributes)
    this.#entries += 1
    return isNew ? this.#inLayer(fd) : fd
  }

  /** The same directory where it is filled the fastest; takes over `fd`. */
  #inLayer(fd: number): number {
    const layer = this.#openInLayer(fd)
    if (layer !== undefined) closeSync(fd)
    return layer ?? fd
  }

  #linkToFirst({ stat }: Found, { target, name }: TargetName): boolean {
    if (stat.links < 2) return false
    const key = `${stat.devMajor}:${stat.devMinor}:${stat.ino}`
    const first = this.#firstCopies.get(key)
    if (first === undefined) {
      this.#firstCopies.set(key, joinPath(target.path, name))
      return false
    }
    target.directory.open()
    return this.#withDirectory(parentOf(first), from =>
      // Not the target's own descriptor, which may be the layer's: a link crosses no mounts.
      this.#withDirectory(target.path, to => linkUnlessGone([from, nameOf(first)], [to, name])),
    )
  }

  #withDirectory<T>(path: SafePath, use: (fd: number) => T): T {
    const fd = openInRoot(this.#topFd, path, openAs.directory)
    try {
      return use(fd)
    } finally {
      closeSync(fd)
    }
  }

  #create(found: Found, { target, name }: TargetName): boolean {
    const fd = target.directory.open()
    if (isFile(found.stat)) return this.#createFile(found, { fd, name })
    if (isSymlink(found.stat)) {
      const linked = targetUnlessGone(found)
      if (linked === undefined) return false
      syscalls().symlinkat(linked, fd, bytesOf(name))
      setLinkAttributesAt(fd, name, this.#attributesOf(found))
      return true
    }
    const { mode, rdevMajor, rdevMinor } = found.stat
    const type = isSocket(found.stat) ? fileType.file : mode & typeMask
    syscalls().mknodat(fd, bytesOf(name), [type, rdevMajor, rdevMinor])
    setAttributesAt(fd, name, this.#attributesOf(found))
    return true
  }

  #createFile(found: Found, to: { readonly fd: number; readonly name: string }): boolean {
    const from = openUnlessGone(found)
    if (from === undefined) return false
    try {
      const stat = syscalls().statx(from, '')
      if (!isFile(stat)) return false
      const fd = syscalls().openat2(to.fd, bytesOf(to.name), [openAs.creating, 0o600, 0])
      try {
        copyContent(from, fd, stat)
        setFileAttributes(fd, this.#attributesOf(found))
      } finally {
        closeSync(fd)
      }
    } finally {
      closeSync(from)
    }
    return true
  }

  #attributesOf(found: Found): Attributes {
    const { owner, mode } = this.#options
    const { stat } = found
    const kind = isDirectory(stat) ? 'directory' : 'other'
    const bits = stat.mode & 0o7777
    return {
      mode: mode === undefined || isSymlink(stat) ? bits : mode(bits, kind),
      uid: owner?.uid ?? stat.uid,
      gid: owner?.gid ?? stat.gid,
      mtime: this.#timeOf(found),
      xattrs: portableXattrs(found),
    }
  }

  #timeOf({ stat }: Found): Timestamp {
    const { mtime = stat.mtime, clampTo = Number.POSITIVE_INFINITY } = this.#options
    return mtime.seconds < clampTo ? mtime : { seconds: clampTo, nanoseconds: 0 }
  }

  #isDirectory(to: TargetName): OciError {
    const path = shown(this.#shownPath(to))
    return new OciError('invalid', `cannot replace to directory ${path} with file`)
  }

  #shownPath({ target, name }: TargetName): SafePath {
    return [this.#destination, target.path, name].filter(Boolean).join('/') as SafePath
  }
}

function copyAtOnce(
  [fd, name]: readonly [number, Buffer],
  toFd: number,
  numbers: Float64Array,
): number {
  try {
    return syscalls().copyFile([fd, name], [toFd, name], numbers)
  } catch (error) {
    // An owner that there is none of here: what can be done about it is known to the long way.
    if (!(error instanceof Error) || !('syscall' in error) || error.syscall !== 'fchown')
      throw error
    return copyStatus.notPlain
  }
}

/** Whether it was not there. */
function makeUnlessThere(fd: number, name: string): boolean {
  try {
    syscalls().mkdirat(fd, bytesOf(name), 0o700)
    return true
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    return false
  }
}

type NameAt = readonly [dirFd: number, name: string]

/** `false`: the first one vanished from the source before it was copied, or has too many links. */
function linkUnlessGone([fromFd, from]: NameAt, [toFd, to]: NameAt): boolean {
  try {
    syscalls().linkat([fromFd, bytesOf(from)], [toFd, bytesOf(to)], 0)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'EMLINK')) return false
    throw error
  }
}

/** BuildKit's words (C11). */
export function notADirectory(path: SafePath): OciError {
  return new OciError('invalid', `cannot copy to non-directory: ${shown(path)}`)
}

/** `undefined`, here and below, when what was listed vanished or became something else (X08). */
function openUnlessGone(found: Found): number | undefined {
  try {
    return openFile(found)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ELOOP')) return undefined
    throw error
  }
}

function targetUnlessGone(found: Found): Buffer | undefined {
  try {
    return targetOf(found)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'EINVAL')) return undefined
    throw error
  }
}
