/**
 * LayerFormat: one layer alone in its directory, with whiteouts and opaque directories as overlayfs
 * wants them. What depends on the layers below is noted, and settled when they are there
 * (settle-layer.ts), so that all layers of an image can be unpacked at the same time.
 */
import { closeSync } from 'node:fs'

import { hasCode } from '../../oci/errors.ts'
import { syscalls, type Timestamp } from '../native/syscalls.ts'
import type { TarEntry, TarTime } from '../tar/entry.ts'
import { setXattrAt } from './attributes.ts'
import { isDirectory, openAs } from './file-type.ts'
import { openWithoutLinks } from './open-in-root.ts'
import { isWhiteout, makeWhiteout, type OverlayFormat } from './overlay-format.ts'
import { bytesOf, nameOf, parentOf, rootPath, type SafePath } from './path-bytes.ts'
import type { Spot, TreeFormat } from './tree-format.ts'
import { findAt } from './walk-in-root.ts'

/** What the layers below decide. Plain data: it crosses from a worker to the main thread. */
export interface OpenQuestions {
  /** Whiteouts that mean something only if a lower layer has the path (row A8). */
  readonly whiteouts: readonly SafePath[]
  /** Directories that no entry described: a lower layer may know their attributes (row A11). */
  readonly implied: readonly { readonly path: SafePath; readonly time: Timestamp }[]
  /**
   * Directories that were described only after something was put into them, and markers below what
   * this layer then put there: they count only where a lower layer's link leads elsewhere (A12).
   */
  readonly describedLate: readonly SafePath[]
  /** Whiteouts in directories that this layer does not have. */
  readonly strayMarkers: readonly Marker[]
  /** Directories that hide what is below them; nothing in them depends on lower layers. */
  readonly opaque: readonly SafePath[]
  /** Whether the root's attributes are to come from below. */
  readonly isRootImplied: boolean
  /** Only the merged view can tell: a link to a lower file, a directory below a link (A12, A14). */
  readonly needsMergedView: boolean
  /** Hard links whose target this layer does not have. */
  readonly deadLinks: readonly DeadLink[]
}

/** A whiteout of `path`, or with `opaque` of all that is in the directory `path`. */
export interface Marker {
  readonly kind: 'whiteout' | 'opaque'
  readonly path: SafePath
}

export interface DeadLink {
  readonly path: SafePath
  readonly target: SafePath
}

export class LayerFormat implements TreeFormat {
  readonly keepsTimes = false
  /** What it remembers of a path stands there, be it a whiteout. */
  readonly wantsEachFile = false
  readonly #rootFd: number
  readonly #prefix: string
  readonly #whiteouts = new Set<SafePath>()
  readonly #implied = new Map<SafePath, Timestamp>()
  readonly #describedLate = new Set<SafePath>()
  #strayMarkers: Marker[] = []
  readonly #opaque = new Set<SafePath>()
  #needsMergedView = false

  constructor(rootFd: number, { xattrPrefix }: OverlayFormat) {
    this.#rootFd = rootFd
    this.#prefix = xattrPrefix
  }

  /** Entries that only the merged view can place. */
  requireMergedView(): void {
    this.#needsMergedView = true
  }

  questions(found: Pick<OpenQuestions, 'isRootImplied' | 'deadLinks'>): OpenQuestions {
    return {
      whiteouts: [...this.#whiteouts],
      implied: [...this.#implied].map(([path, time]) => ({ path, time })),
      describedLate: [...this.#describedLate],
      strayMarkers: this.#strayMarkers,
      opaque: [...this.#opaque],
      ...found,
      needsMergedView: this.#needsMergedView,
    }
  }

  whiteout(path: SafePath): void {
    this.#mark({ kind: 'whiteout', path })
  }

  opaque(path: SafePath): void {
    this.#mark({ kind: 'opaque', path })
  }

  /** Directories that came after their whiteouts are here now. */
  onLastEntry(): void {
    const stray = this.#strayMarkers
    this.#strayMarkers = []
    for (const marker of stray) this.#mark(marker)
  }

  onPlaced({ path }: Spot): void {
    this.#whiteouts.delete(path)
    // What was put there before may have gone through a lower layer's link of that name (A12).
    if (this.#implied.delete(path)) this.#describedLate.add(path)
  }

  onImplied(path: SafePath, time: TarTime): void {
    this.#implied.set(path, time)
  }

  onReplacedByDirectory(spot: Spot): void {
    // What a lower layer has here was replaced too: it has no attributes to give.
    this.#implied.delete(spot.path)
    this.#hideBelow(spot)
  }

  onRemoved(path: SafePath, kind: 'directory' | 'other'): void {
    // A lower layer's link may stand where this directory was only implied: what was put below it
    // went elsewhere then, and is not gone (A12).
    if (this.#implied.has(path)) this.#needsMergedView = true
    for (const known of [this.#whiteouts, this.#implied, this.#opaque]) {
      known.delete(path)
      if (kind === 'other') continue
      for (const each of known.keys()) if (each.startsWith(`${path}/`)) known.delete(each)
    }
  }

  onImpliedBelowLink(): void {
    this.#needsMergedView = true
  }

  isContent({ fd, name }: Spot): boolean {
    const stat = findAt(fd, name)
    return stat !== undefined && !isWhiteout(stat)
  }

  /**
   * As the kernel documents it for an overlay inside an overlay: an empty file marked as a whiteout
   * in a directory marked as holding such. Our own mount shows the marks, and hides nothing.
   */
  createNullDevice(spot: Spot, _entry: TarEntry): void {
    const fd = syscalls().openat2(spot.fd, bytesOf(spot.name), [openAs.creating, 0, 0])
    closeSync(fd)
    this.#setOwn(spot.fd, spot.name, ['overlay.whiteout', 'y'])
    this.#setOwn(spot.fd, '.', ['overlay.opaque', 'x'])
  }

  /** Attributes with overlayfs's meaning are stored so that our own mount does not obey them (A21). */
  storedXattr(name: Buffer): Buffer | undefined {
    const text = name.toString('latin1')
    if (text === 'security.selinux' || text === 'system.nfs4_acl') return undefined
    if (!text.startsWith(this.#prefix)) return name
    return bytesOf(`${this.#prefix}overlay.${text.slice(this.#prefix.length)}`)
  }

  #hideBelow(spot: Spot): void {
    // The kernel does not look at the mark on a layer's root: settled name by name instead.
    if (spot.path !== rootPath) this.#setOwn(spot.fd, spot.name, ['opaque', 'y'])
    this.#opaque.add(spot.path)
  }

  #setOwn(fd: number, name: string, [key, value]: readonly [string, string]): void {
    setXattrAt(fd, name, { name: bytesOf(`${this.#prefix}${key}`), value: bytesOf(value) })
  }

  #mark(marker: Marker): void {
    const directory = marker.kind === 'opaque' ? marker.path : parentOf(marker.path)
    const fd = this.#openOwn(directory)
    if (fd === 'missing') this.#strayMarkers.push(marker)
    if (fd === 'hidden') this.#describedLate.add(marker.path)
    if (typeof fd !== 'number') return
    try {
      if (marker.kind === 'opaque') this.#hideBelow({ fd, name: '.', path: marker.path })
      else this.#hideName({ fd, name: nameOf(marker.path), path: marker.path })
    } finally {
      closeSync(fd)
    }
  }

  #hideName(spot: Spot): void {
    const existing = findAt(spot.fd, spot.name)
    if (existing === undefined) {
      makeWhiteout(spot.fd, spot.name)
      this.#whiteouts.add(spot.path)
    } else if (isDirectory(existing)) {
      // This layer's own directory stays; what lower layers have in it does not (rows A3, A6), nor
      // what they know of it.
      this.#implied.delete(spot.path)
      this.#hideBelow(spot)
    }
  }

  /**
   * This layer's directory at `path`. `hidden`: the layer has something else on the way, and nothing
   * of a lower layer shows through that (row A7).
   */
  #openOwn(path: SafePath): number | 'missing' | 'hidden' {
    try {
      return openWithoutLinks(this.#rootFd, path, openAs.directory)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return 'missing'
      if (hasCode(error, 'ELOOP')) this.#needsMergedView = true
      else if (!hasCode(error, 'ENOTDIR')) throw error
      return 'hidden'
    }
  }
}
