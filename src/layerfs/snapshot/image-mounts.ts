/**
 * Images mounted into the machine's own tree: what they show outlives the process that mounted them.
 *
 *   mounts/<id>/parent        the chain ID of the snapshot that is shown: a prune keeps it
 *              /record.json   where it is mounted, and what it is called
 *              /fs, work      an empty top, or with `scratch` what is written
 *              /fs.tree       without overlayfs: a copy of all, which is mounted
 *
 * 1. There is a directory before there is a mount, and until there is none. The mount carries the
 *    id as its source, so the kernel's tables tell which directories are still in use, also after a
 *    reboot, a kill, or an `umount` by other hands.
 * 2. Nobody gains rights by what an image contains: set-user-id bits and devices have no effect.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import type { ChainId } from '../../oci/digest.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { asString, type JsonNode, member, parseJson } from '../../oci/json.ts'
import { makeDirectory, writeFileAtomic } from '../content/atomic-file.ts'
import { type FileLock, tryLock } from '../content/file-lock.ts'
import { directoriesIn, readOwnBytes } from '../content/own-files.ts'
import { copiedTree } from '../layer/copied-tree.ts'
import { mountOverlay } from '../layer/detached-mount.ts'
import { openAs } from '../layer/file-type.ts'
import { overlayUse } from '../layer/overlay-use.ts'
import type { RootMount } from '../mount.ts'
import { atCwd, syscalls } from '../native/syscalls.ts'
import { mountPoints, mountSources } from './mount-table.ts'
import type { OverlaySnapshotter } from './overlay.ts'
import type { Trash } from './trash.ts'

export interface MountedImage {
  readonly id: string
  /** Absolute, without links. */
  readonly target: string
  /** As the user named it. */
  readonly image: string
  readonly mode: 'read-only' | 'scratch'
}

export interface MountRequest {
  readonly chain: ChainId | undefined
  readonly image: string
  readonly target: string
  /** `scratch`: writable; what is written goes with the mount. */
  readonly mode: MountedImage['mode']
}

export interface ImageMounts {
  /**
   * Mounts over the directory `target`, made when missing, in this process's mount namespace. Throws
   * `conflict` when an image is mounted there, `denied` without the right to mount; then nothing is
   * mounted and nothing is left but that directory.
   */
  mount(request: MountRequest): Promise<MountedImage>
  /**
   * Ends the mount that `text` names, by directory or by id. Throws `not-found`, and `conflict`
   * while it is used, unless `how` is `lazy`.
   */
  unmount(text: string, how: 'now' | 'lazy'): Promise<MountedImage>
  /** What is mounted; records of what is not are discarded on the way. */
  list(): Promise<MountedImage[]>
}

export interface ImageMountsPlace {
  readonly root: string
  readonly snapshots: OverlaySnapshotter
  readonly trash: Trash
}

const attributes = { readOnly: 1, noSetUserId: 2, noDevices: 4 } as const
const detach = 2
const noFollow = 8

export function openImageMounts({ root, snapshots, trash }: ImageMountsPlace): ImageMounts {
  const directory = join(root, 'mounts')
  const list = async () => {
    const sources = mountSources()
    const mounted: MountedImage[] = []
    for (const id of directoriesIn(directory)) {
      const found = await findMounted(join(directory, id), { id, sources, trash })
      if (found !== undefined) mounted.push(found)
    }
    return mounted
  }
  return {
    list,
    mount: async request => {
      const target = await targetOf(request.target)
      const there = (await list()).find(other => other.target === target)
      if (there !== undefined) {
        throw new OciError(
          'conflict',
          `Cannot mount at "${printable(target)}": ${printable(there.image)} is mounted there`,
        )
      }
      makeDirectory(directory, 0o700)
      await using active = await snapshots.prepare(request.chain)
      const { image, mode } = request
      const record = { target, image, mode }
      await writeFileAtomic(join(active.upper, '..', 'record.json'), JSON.stringify(record))
      const path = join(directory, active.key)
      const lower = request.chain === undefined ? [] : await snapshots.layers(request.chain)
      using _lock = await active.moveTo(path)
      try {
        attach({ path, lower, target, mode, source: sourceOf(active.key) })
      } catch (error) {
        await trash.discard(path)
        throw explained(error, target)
      }
      return { id: active.key, ...record }
    },
    unmount: async (text, how) => {
      const mounted = await list()
      const path = await realpath(text).catch(() => text)
      const entry =
        mounted.findLast(({ target }) => target === path) ??
        mounted.find(({ id }) => text.length >= 4 && id.startsWith(text))
      if (entry === undefined) throw notMounted(text)
      release(entry, how)
      // Another mount namespace may have its own copy: then the record stays, as long as that.
      if (!mountSources().has(sourceOf(entry.id))) await trash.discard(join(directory, entry.id))
      return entry
    },
  }
}

function sourceOf(id: string): string {
  return `tsrun:${id}`
}

/** What is in the directory is hidden meanwhile, and comes back. */
async function targetOf(path: string): Promise<string> {
  makeDirectory(path)
  return realpath(path)
}

interface Attachment {
  readonly path: string
  readonly lower: readonly string[]
  readonly target: string
  readonly mode: MountedImage['mode']
  readonly source: string
}

function attach({ path, lower, target, mode, source }: Attachment): void {
  const safe = attributes.noSetUserId | attributes.noDevices
  const wanted = mode === 'scratch' ? safe : safe | attributes.readOnly
  const mountFd =
    overlayUse() === 'copy'
      ? cloneTree(copiedTree(scratchMount(path, lower)), wanted)
      : mountOverlay(mode === 'scratch' ? scratchMount(path, lower) : viewMount(path, lower), {
          source,
          attributes: wanted,
        })
  try {
    // By descriptor: nobody can put a link in the target's place meanwhile.
    const targetFd = openSync(target, openAs.directoryNoFollow)
    try {
      syscalls().moveMount(mountFd, targetFd, '')
    } finally {
      closeSync(targetFd)
    }
  } finally {
    closeSync(mountFd)
  }
}

const openTreeClone = 1

/** The mount's own copy, which the kernel's tables show as its root: see mount-table.ts. */
function cloneTree(tree: string, wanted: number): number {
  const fd = syscalls().openTree(atCwd, tree, openTreeClone)
  try {
    syscalls().mountSetattr(fd, wanted)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

type Overlay = RootMount & { readonly kind: 'overlay' }

/** The kernel wants two directories; the mount's own, which is empty, stands in for one. */
function viewMount(path: string, lower: readonly string[]): Overlay {
  if (lower.length > 1) return { kind: 'overlay', lower }
  const own = [join(path, 'fs'), ...lower]
  return { kind: 'overlay', lower: own.length > 1 ? own : [...own, emptyIn(path)] }
}

function scratchMount(path: string, lower: readonly string[]): Overlay {
  return {
    kind: 'overlay',
    lower: lower.length > 0 ? lower : [emptyIn(path)],
    upper: join(path, 'fs'),
    work: join(path, 'work'),
  }
}

function emptyIn(path: string): string {
  const empty = join(path, 'empty')
  mkdirSync(empty, { mode: 0o755 })
  return empty
}

/** Only the mount on top can be taken away: another one over it is somebody else's. */
function release({ id, target }: MountedImage, how: 'now' | 'lazy'): void {
  const top = mountPoints().findLast(({ path }) => path === target)
  if (top?.source !== sourceOf(id)) throw notMounted(target)
  try {
    syscalls().umount2(target, how === 'lazy' ? noFollow | detach : noFollow)
  } catch (error) {
    if (!hasCode(error, 'EBUSY')) throw explained(error, target)
    throw new OciError('conflict', `Cannot unmount "${printable(target)}": it is in use`, {
      cause: error,
      hint: 'Leave the directory first, or use --lazy',
    })
  }
}

interface Finding {
  readonly id: string
  readonly sources: ReadonlySet<string>
  readonly trash: Trash
}

/** `undefined` for one that is not mounted any more, or not yet. */
async function findMounted(
  path: string,
  { id, sources, trash }: Finding,
): Promise<MountedImage | undefined> {
  if (sources.has(sourceOf(id))) return { id, ...recordIn(path) }
  using lock = lockUnlessGone(path)
  // Whoever mounts holds the lock; it may also have mounted since we looked.
  if (lock !== undefined && !mountSources().has(sourceOf(id))) await trash.discard(path)
  return undefined
}

function lockUnlessGone(path: string): FileLock | undefined {
  try {
    return tryLock(path, 'exclusive')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** A record that a power failure damaged describes no mount: there is none after one. */
function recordIn(path: string): Omit<MountedImage, 'id'> {
  try {
    const node: JsonNode = parseJson(
      'mount record',
      readOwnBytes(join(path, 'record.json')) ?? Buffer.of(),
    )
    return {
      target: asString(member(node, 'target')),
      image: asString(member(node, 'image')),
      mode: asString(member(node, 'mode')) === 'scratch' ? 'scratch' : 'read-only',
    }
  } catch (error) {
    if (!hasCode(error, 'invalid')) throw error
    return { target: '', image: '', mode: 'read-only' }
  }
}

function notMounted(text: string): OciError {
  return new OciError('not-found', `Cannot unmount "${printable(text)}": no image is mounted there`)
}

function explained(error: unknown, target: string): unknown {
  if (!hasCode(error, 'EPERM') && !hasCode(error, 'EACCES')) return error
  return new OciError('denied', `Cannot mount at "${printable(target)}": it takes root`, {
    cause: error,
  })
}
