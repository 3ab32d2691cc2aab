/** What a cache mount is called in the store, and in caches that take it along. */
import { cleanPath } from '../dockerfile/clean-path.ts'
import type { Mount } from '../dockerfile/mount.ts'

/**
 * A namespace keeps the caches of one project from those of another. Owner and mode are part of
 * what a cache is: one asked for as another user's is another (R10).
 */
export function cacheId(mount: Mount, namespace: string): string {
  const id = mount.id === '' ? cleanPath(mount.target) : mount.id
  const named = namespace === '' ? id : cleanPath(`${namespace}/${id}`)
  const { uid, gid, mode } = mount
  if (uid === undefined && gid === undefined && mode === undefined) return named
  return `${named} (${uid ?? 0}:${gid ?? 0} ${(mode ?? 0o755).toString(8)})`
}

/** Whether a Dockerfile calls the cache `name`, whatever owner and mode set it apart. */
export function isCacheNamed(id: string, name: string): boolean {
  return id === name || id.startsWith(`${name} (`)
}
