/**
 * Cache mounts: directories by id that outlive builds and never reach an image (R10).
 *
 *   <root>/<sha256 of the id>/0/     the directory everyone shares
 *                            /1/ …   more of them, where `private` found the others busy
 *                            /0.lock who uses it: shared, or one at a time
 */
import { createHash } from 'node:crypto'
import { chmod, chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { acquireLock, type FileLock, tryLock } from '../../layerfs/content/file-lock.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RunMount } from '../plan/step.ts'

export interface HeldCache {
  readonly path: string
  /** Released by whoever asked for the directory. */
  readonly lock: FileLock
}

type CacheMount = Extract<RunMount, { kind: 'cache' }>

/** Waits, for `locked`, until nobody uses the directory. */
export async function holdCache(
  root: string,
  mount: CacheMount,
  signal: AbortSignal,
): Promise<HeldCache> {
  const home = join(root, createHash('sha256').update(mount.id).digest('hex'))
  await mkdir(home, { recursive: true, mode: 0o700 })
  const held = await lockOne(home, mount, signal)
  await makeDirectory(held.path, mount)
  return held
}

async function lockOne(home: string, mount: CacheMount, signal: AbortSignal): Promise<HeldCache> {
  if (mount.sharing === 'private') return lockFree(home)
  const mode = mount.sharing === 'locked' ? 'exclusive' : 'shared'
  const lock = await acquireLock(join(home, '0.lock'), { mode, signal })
  return { path: join(home, '0'), lock }
}

function lockFree(home: string): HeldCache {
  for (let number = 0; ; number++) {
    const lock = tryLock(join(home, `${number}.lock`), 'exclusive')
    if (lock !== undefined) return { path: join(home, String(number)), lock }
  }
}

/** Mode and owner are those of the first mount that made the directory. */
async function makeDirectory(path: string, mount: CacheMount): Promise<void> {
  try {
    await mkdir(path, 0o700)
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return
    throw error
  }
  await chown(path, mount.uid ?? 0, mount.gid ?? 0)
  await chmod(path, mount.mode ?? 0o755)
}
