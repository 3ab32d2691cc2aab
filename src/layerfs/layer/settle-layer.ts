/**
 * Settling a layer: answering, with the layers below it, what its own tar left open.
 *
 * The layer's directory then shows, laid over those layers, what extracting all of them into one
 * tree would have shown. Where only the merged view can tell, the answer is `replay`.
 */
import { closeSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { hasCode } from '../../oci/errors.ts'
import { type FileStat, syscalls, type Timestamp } from '../native/syscalls.ts'
import {
  attributesOf,
  inheritAttributes,
  setAttributesAt,
  setXattrAt,
  type Xattr,
} from './attributes.ts'
import { findDirectoryAt, openUnlessMissing } from './directory-cache.ts'
import { isDirectory, isSymlink, openAs } from './file-type.ts'
import type { Marker, OpenQuestions } from './layer-format.ts'
import { assertNoDeadLinks } from './link-entry.ts'
import { openWithoutLinks } from './open-in-root.ts'
import { isWhiteout, makeWhiteout, overlayFormat } from './overlay-format.ts'
import { keepingTime } from './parent-directories.ts'
import { bytesOf, nameOf, parentOf, rootPath, type SafePath } from './path-bytes.ts'
import { openListing } from './remove-tree.ts'
import { openRoot, type Root } from './rootfs.ts'
import { createDirectory, findAt } from './walk-in-root.ts'

export interface Settling {
  /** The layer's directory. */
  readonly target: string
  /** The layers below, top first, themselves settled. */
  readonly lower: readonly string[]
}

/**
 * `replay`: the layer has to be applied again, through an overlay on `lower`; `target` is then
 * to be emptied.
 */
export function settleLayer(
  { target, lower }: Settling,
  questions: OpenQuestions,
): 'settled' | 'replay' {
  if (questions.needsMergedView && lower.length > 0) return 'replay'
  assertNoDeadLinks(questions.deadLinks)
  using layer = openRoot({ kind: 'directory', path: target, readOnly: false })
  using below = lower.length > 0 ? openRoot({ kind: 'overlay', lower }) : undefined
  const view: View = { layer, below, opaque: new Set(questions.opaque) }
  const placed = [...questions.implied, ...questions.strayMarkers].map(({ path }) => path)
  const paths = [...placed, ...questions.describedLate]
  if (paths.some(path => isBehindLink(view, path))) return 'replay'
  hideRoot(view)
  for (const path of questions.whiteouts) {
    if (!hasLower(view, path)) removeMarker(view, path)
  }
  for (const marker of outermostFirst(standing(questions.strayMarkers))) placeMarker(view, marker)
  for (const { path, time } of questions.implied.toReversed()) describe(view, path, time)
  if (questions.isRootImplied) describeRoot(view)
  return 'settled'
}

interface View {
  readonly layer: Root
  readonly below: Root | undefined
  /** Directories of the layer that hide what is below them. */
  readonly opaque: Set<SafePath>
}

/** Without the opaque ones of directories that are gone: those would be there again, empty. */
function standing(markers: readonly Marker[]): Marker[] {
  const gone = new Set(markers.filter(({ kind }) => kind === 'whiteout').map(({ path }) => path))
  const isGone = (path: SafePath): boolean => {
    for (let each = path; each !== rootPath; each = parentOf(each)) if (gone.has(each)) return true
    return false
  }
  return markers.filter(({ kind, path }) => kind === 'whiteout' || !isGone(path))
}

/** Opaque ones first: what is hidden by them needs no whiteout of its own. */
function outermostFirst(markers: readonly Marker[]): Marker[] {
  const rank = ({ kind }: Marker): number => (kind === 'opaque' ? 0 : 1)
  return markers.toSorted((a, b) => rank(a) - rank(b) || a.path.length - b.path.length)
}

/** Looks at lower layers without following links: what is behind one is another path's business. */
function lowerStat({ below, opaque }: View, path: SafePath): FileStat | 'link' | undefined {
  if (below === undefined) return undefined
  for (let above = opaque.size === 0 ? rootPath : path; above !== rootPath; ) {
    above = parentOf(above)
    if (opaque.has(above)) return undefined
  }
  try {
    const fd = openWithoutLinks(below.fd, path, openAs.anything)
    const stat = syscalls().statx(fd, '')
    closeSync(fd)
    return stat
  } catch (error) {
    if (hasCode(error, 'ELOOP')) return 'link'
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined
    throw error
  }
}

function isBehindLink(view: View, path: SafePath): boolean {
  const stat = lowerStat(view, path)
  return stat === 'link' || (stat !== undefined && isSymlink(stat))
}

function hasLower(view: View, path: SafePath): boolean {
  const stat = lowerStat(view, path)
  return stat !== undefined && stat !== 'link'
}

function hasLowerDirectory(view: View, path: SafePath): boolean {
  const stat = lowerStat(view, path)
  return stat !== undefined && stat !== 'link' && isDirectory(stat)
}

/** The kernel does not look at an opaque mark on a layer's root, so each name is hidden. */
function hideRoot({ layer, below, opaque }: View): void {
  if (below === undefined || !opaque.has(rootPath)) return
  const listing = openListing(below.fd, '.')
  try {
    keepingTime(layer.fd, () => {
      for (const entry of syscalls().readdir(listing)) {
        const name = entry.name.toString('latin1')
        const own = findAt(layer.fd, name)
        if (own === undefined) makeWhiteout(layer.fd, name)
        else if (isDirectory(own)) setXattrAt(layer.fd, name, opaqueMark())
      }
    })
  } finally {
    closeSync(listing)
  }
}

/** A whiteout that hides nothing would be a ghost: listed, yet not there (row A8). */
function removeMarker({ layer }: View, path: SafePath): void {
  inDirectory(layer, parentOf(path), fd =>
    keepingTime(fd, () => {
      const name = nameOf(path)
      const stat = findAt(fd, name)
      if (stat !== undefined && isWhiteout(stat)) syscalls().unlinkat(fd, bytesOf(name), 0)
    }),
  )
}

/** A whiteout in a directory that only lower layers have needs that directory here too. */
function placeMarker(view: View, { kind, path }: Marker): void {
  if (!hasLower(view, path)) return
  const directory = kind === 'opaque' ? path : parentOf(path)
  if (!hasLowerDirectory(view, directory) || !makeDirectory(view, directory)) return
  inDirectory(view.layer, directory, fd => {
    if (kind === 'opaque') {
      setXattrAt(fd, '.', opaqueMark())
      view.opaque.add(path)
    } else keepingTime(fd, () => hide(fd, nameOf(path)))
  })
}

function hide(fd: number, name: string): void {
  if (findAt(fd, name) === undefined) makeWhiteout(fd, name)
}

function opaqueMark(): Xattr {
  return { name: bytesOf(`${overlayFormat().xattrPrefix}opaque`), value: bytesOf('y') }
}

/**
 * Whether this layer has, or now has, the directory `path`, which those below have. Goes down both
 * at once, so that a deep path takes no longer than it is.
 */
function makeDirectory({ layer, below }: View, path: SafePath): boolean {
  const open: number[] = []
  const enter = (fd: number, name: string) => {
    const inner = findDirectoryAt(fd, name)
    if (inner !== undefined) open.push(inner)
    return inner
  }
  try {
    let here: number | undefined = layer.fd
    let there = below?.fd
    for (const name of path === rootPath ? [] : path.split('/')) {
      there = there === undefined ? undefined : enter(there, name)
      here = makeOne(here, name, there) ? enter(here, name) : undefined
      if (here === undefined) return false
    }
    return true
  } finally {
    for (const fd of open) closeSync(fd)
  }
}

/** Whether `name` may be gone into; a new one is like the one below. */
function makeOne(fd: number, name: string, below: number | undefined): boolean {
  const existing = findAt(fd, name)
  if (existing !== undefined) return isDirectory(existing)
  keepingTime(fd, () => createDirectory(fd, name, { mode: 0o755, uid: 0, gid: 0 }))
  const made = findDirectoryAt(fd, name)
  if (made === undefined) return false
  try {
    if (below !== undefined) inheritAttributes(below, made)
    else syscalls().utimensat(made, '', bareRoot.mtime)
  } finally {
    closeSync(made)
  }
  return true
}

/** Gives an implied directory the attributes it has below, or at least a time that repeats. */
function describe(view: View, path: SafePath, time: Timestamp): void {
  inDirectory(view.layer, path, fd => {
    if (view.below === undefined || !hasLowerDirectory(view, path)) {
      syscalls().utimensat(fd, '', time)
      return
    }
    inDirectory(view.below, path, lower => inheritAttributes(lower, fd))
  })
}

function describeRoot({ layer, below }: Pick<View, 'layer' | 'below'>): void {
  if (below !== undefined) inheritAttributes(below.fd, layer.fd)
  else setAttributesAt(layer.fd, '.', bareRoot)
}

const bareRoot = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  xattrs: [],
} as const

/**
 * Gives the directory `target` the attributes that the root of `lower` shows; those of an empty
 * image's root when there is none. An overlay shows its topmost root: each new layer needs this.
 */
export function inheritRoot({ target, lower }: Settling): void {
  using layer = openRoot({ kind: 'directory', path: target, readOnly: false })
  using below = lower.length > 0 ? openRoot({ kind: 'overlay', lower }) : undefined
  describeRoot({ layer, below })
}

/** Whether two directories have the same attributes, as {@link inheritRoot} gives them. */
export function hasSameRoot(one: string, other: string): boolean {
  using root = openRoot({ kind: 'directory', path: one, readOnly: true })
  using otherRoot = openRoot({ kind: 'directory', path: other, readOnly: true })
  return isDeepStrictEqual(attributesOf(root.fd), attributesOf(otherRoot.fd))
}

/** Runs `act` in the directory `path` itself, links not followed; nothing when there is none. */
function inDirectory(root: Root, path: SafePath, act: (fd: number) => void): void {
  const fd = openUnlessMissing(() => openWithoutLinks(root.fd, path, openAs.directory))
  if (fd === undefined) return
  try {
    act(fd)
  } finally {
    closeSync(fd)
  }
}
