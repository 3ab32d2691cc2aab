/**
 * Cache mounts: directories by id that outlive builds and never reach an image (R10).
 *
 *   <root>/<sha256 of the id>/0/     the directory everyone shares
 *                            /1/ …   more of them, where `private` found the others busy
 *                            /0.lock who uses it: shared, or one at a time
 *
 * 1. A RUN holds each id once, however many of its mounts name it.
 * 2. All builds take ids in one order, so no two wait for each other.
 * 3. A directory appears with its owner, mode and first content, or not at all.
 */
import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ignoreMissing, makeDirectory } from '../../layerfs/content/atomic-file.ts'
import {
  acquireLock,
  type FileLock,
  tryAcquireLock,
  withLock,
} from '../../layerfs/content/file-lock.ts'
import type { RunMount } from '../plan/step.ts'

export type CacheMount = Extract<RunMount, { kind: 'cache' }> & {
  /** Fills the directory that is made, or is empty; what it says goes for what the mount does not. */
  readonly seed?: (path: string) => Promise<DirectoryLook | undefined>
}

export interface DirectoryLook {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** Directories by id, locked until disposed. */
export interface HeldCaches extends Disposable {
  pathOf(id: string): string
}

/**
 * Waits, for `locked`, until nobody else uses a directory. Rejects with the signal's reason, or
 * when a directory cannot be made, holding nothing.
 */
export async function holdCaches(
  root: string,
  mounts: readonly CacheMount[],
  signal: AbortSignal,
): Promise<HeldCaches> {
  const held = new Map<string, HeldCache>()
  const release = () => {
    for (const { lock } of held.values()) lock[Symbol.dispose]()
  }
  try {
    for (const mount of oncePerId(mounts)) held.set(mount.id, await holdCache(root, mount, signal))
  } catch (error) {
    release()
    throw error
  }
  return {
    pathOf: id => {
      const cache = held.get(id)
      if (cache === undefined) throw new Error(`Cache mount ${id} is not held`)
      return cache.path
    },
    [Symbol.dispose]: release,
  }
}

/** Of several mounts of one id the first decides, unless another wants the directory alone. */
function oncePerId(mounts: readonly CacheMount[]): CacheMount[] {
  const byId = new Map<string, CacheMount>()
  for (const mount of mounts) {
    const first = byId.get(mount.id) ?? mount
    byId.set(mount.id, mount.sharing === 'locked' ? { ...first, sharing: 'locked' } : first)
  }
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** Where a store keeps them. */
export function cacheMountsOf({ root }: { readonly root: string }): string {
  return join(root, 'cache-mounts')
}

/** The directory of `id` that everyone shares, and the lock of who uses it. */
export function sharedCache(
  root: string,
  id: string,
): { readonly path: string; readonly lock: string } {
  const home = homeOf(root, id)
  return { path: join(home, '0'), lock: join(home, '0.lock') }
}

function homeOf(root: string, id: string): string {
  return join(root, createHash('sha256').update(id).digest('hex'))
}

interface HeldCache {
  readonly path: string
  readonly lock: FileLock
}

async function holdCache(root: string, mount: CacheMount, signal: AbortSignal): Promise<HeldCache> {
  const home = homeOf(root, mount.id)
  makeDirectory(home, 0o700)
  const held = await lockOne(home, mount, signal)
  try {
    await makeCacheDirectory(held.path, mount, signal)
    return held
  } catch (error) {
    held.lock[Symbol.dispose]()
    throw error
  }
}

async function lockOne(home: string, mount: CacheMount, signal: AbortSignal): Promise<HeldCache> {
  if (mount.sharing === 'private') return lockFree(home)
  const mode = mount.sharing === 'locked' ? 'exclusive' : 'shared'
  const lock = await acquireLock(join(home, '0.lock'), { mode, signal })
  return { path: join(home, '0'), lock }
}

function lockFree(home: string): HeldCache {
  for (let number = 0; ; number++) {
    const lock = tryAcquireLock(join(home, `${number}.lock`), 'exclusive')
    if (lock !== undefined) return { path: join(home, String(number)), lock }
  }
}

/** Mode and owner are those of the first mount that made the directory. */
async function makeCacheDirectory(
  path: string,
  mount: CacheMount,
  signal: AbortSignal,
): Promise<void> {
  if (await isReady(path, mount)) return
  await withLock(`${path}.making`, { mode: 'exclusive', signal }, async () => {
    if (await isReady(path, mount)) return
    const fresh = `${path}.new`
    // What a killed process left.
    await rm(fresh, { recursive: true, force: true })
    await mkdir(fresh, 0o700)
    const look = await mount.seed?.(fresh)
    await chown(fresh, mount.uid ?? look?.uid ?? 0, mount.gid ?? look?.gid ?? 0)
    await chmod(fresh, mount.mode ?? look?.mode ?? 0o755)
    await rename(fresh, path)
  })
}

/** An empty directory is as good as none to who knows what was in it elsewhere. */
async function isReady(path: string, { seed }: CacheMount): Promise<boolean> {
  const names = await readdir(path).catch(ignoreMissing)
  return names !== undefined && (seed === undefined || names.length > 0)
}
