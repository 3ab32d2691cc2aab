/**
 * Layers as one plain directory, where the kernel lays none over each other.
 *
 *   fs            a layer's directory, in the format of overlay-format.ts, as always
 *   fs.tree       what it shows together with the layers below it: copied when first looked at
 *   fs.tree.new   being made, locked by who makes it
 *   fs.since      of a layer that is written to: when the copy was complete, and its directories
 *
 * 1. A tree is there whole or not at all. That of a committed layer never changes.
 * 2. What was written to a tree is in the layer after {@link recordChanges}, and in both at once: a
 *    changed file has a name in each, so it takes no space twice, and a commit keeps the tree.
 */
import { closeSync, existsSync, openSync, renameSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { makeDirectory } from '../content/atomic-file.ts'
import { type FileLock, tryLock } from '../content/file-lock.ts'
import type { RootMount } from '../mount.ts'
import { inheritAttributes, xattrsAt } from './attributes.ts'
import { writeBaseline } from './copy-baseline.ts'
import { openTarget } from './copy-frame.ts'
import { TreeCopier } from './copy-tree.ts'
import { findDirectoryAt } from './directory-cache.ts'
import { namesOf } from './directory-entries.ts'
import { isDirectory, openAs } from './file-type.ts'
import { isWhiteout, overlayFormat } from './overlay-format.ts'
import { rootPath } from './path-bytes.ts'
import { emptyDirectory, openListing, removeTree } from './remove-tree.ts'
import { findAt } from './walk-in-root.ts'

type Overlay = RootMount & { readonly kind: 'overlay' }

/** The directory that shows what `mount` would, writable if that is; made when there is none. */
export function copiedTree({ lower, upper }: Overlay): string {
  const layers = upper === undefined ? lower : [upper, ...lower]
  const [top, ...below] = layers
  if (top === undefined) throw new Error('A mount without a directory')
  if (below.length === 0) return top
  const tree = treeOf(top)
  if (!existsSync(tree)) make(tree, layers)
  return tree
}

export function treeOf(layer: string): string {
  return `${layer}.tree`
}

const pauseMs = 20

function make(tree: string, layers: readonly string[]): void {
  const [top = ''] = layers
  const draft = `${tree}.new`
  while (!existsSync(tree)) {
    makeDirectory(draft, 0o700)
    using lock = lockUnlessGone(draft)
    if (lock === undefined) {
      // Another process copies the same layers.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs)
      continue
    }
    if (existsSync(tree)) return
    fill(draft, layers)
    writeBaseline(top, draft)
    renameSync(draft, tree)
  }
}

function lockUnlessGone(path: string): FileLock | undefined {
  try {
    return tryLock(path, 'exclusive')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** On the nearest tree below that is there, layer by layer. A dead process may have left some. */
function fill(draft: string, layers: readonly string[]): void {
  const bottom = layers.length - 1
  const known = layers.findIndex((layer, index) => index === bottom || existsSync(treeOf(layer)))
  const base = layers[known] ?? ''
  const draftFd = openSync(draft, openAs.directory)
  try {
    emptyDirectory(draftFd, '.')
    layOver(draftFd, existsSync(treeOf(base)) ? treeOf(base) : base)
    for (const layer of layers.slice(0, known).reverse()) layOver(draftFd, layer)
  } finally {
    closeSync(draftFd)
  }
}

/** What the layer hides goes first, then its own comes. */
function layOver(treeFd: number, layer: string): void {
  const layerFd = openSync(layer, openAs.directory)
  try {
    hide(treeFd, layerFd)
    const options = { omit: isWhiteout }
    const copier = new TreeCopier(treeFd, { options, destination: rootPath })
    copier.copyContents(layerFd, openTarget(treeFd))
    inheritAttributes(layerFd, treeFd)
  } finally {
    closeSync(layerFd)
  }
}

/** A directory of the layer that is one of the tree too. */
interface Frame {
  readonly treeFd: number
  readonly listing: number
  readonly names: string[]
}

/** No deeper in calls than the layer is deep in directories: whoever made it decided that. */
function hide(treeFd: number, layerFd: number): void {
  const frames = [frameOf(treeFd, layerFd)]
  try {
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const name = frame.names.pop()
      if (name === undefined) {
        frames.pop()
        leave(frame, treeFd)
        continue
      }
      const inner = hideAt(frame, name)
      if (inner !== undefined) frames.push(inner)
    }
  } finally {
    for (const frame of frames) leave(frame, treeFd)
  }
}

function frameOf(treeFd: number, layerFd: number): Frame {
  if (isOpaque(layerFd)) emptyDirectory(treeFd, '.')
  const listing = openListing(layerFd, '.')
  return { treeFd, listing, names: namesOf(listing) }
}

/** The tree's own descriptor is the caller's. */
function leave({ treeFd, listing }: Frame, topFd: number): void {
  closeSync(listing)
  if (treeFd !== topFd) closeSync(treeFd)
}

/** Answers the directory that is to be gone into. */
function hideAt({ treeFd, listing }: Frame, name: string): Frame | undefined {
  const below = findAt(treeFd, name)
  const above = findAt(listing, name)
  if (below === undefined || above === undefined) return undefined
  if (!isDirectory(below) || !isDirectory(above)) {
    removeTree(treeFd, name)
    return undefined
  }
  const inTree = findDirectoryAt(treeFd, name)
  if (inTree === undefined) return undefined
  try {
    const inLayer = openListing(listing, name)
    try {
      return frameOf(inTree, inLayer)
    } finally {
      closeSync(inLayer)
    }
  } catch (error) {
    closeSync(inTree)
    throw error
  }
}

function isOpaque(fd: number): boolean {
  const mark = `${overlayFormat().xattrPrefix}opaque`
  return xattrsAt(fd, '.').some(({ name, value }) => String(name) === mark && String(value) === 'y')
}
