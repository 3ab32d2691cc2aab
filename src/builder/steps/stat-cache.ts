/**
 * StatCache: digests of file bodies, and extended attributes, by how the file looks to `lstat`, so
 * that a context that did not change costs one such call for each file.
 *
 * A file whose bytes or attributes change gets a new ctime, which nobody can set back. But two changes within one
 * tick of the file system's clock look the same, so a file that was changed within
 * {@link settleSeconds} of being hashed is not remembered beyond this build.
 */
import type { FileStat } from '../../layerfs/native/syscalls.ts'

const settleSeconds = 2

export interface StatCache {
  find(stat: FileStat): string | undefined
  put(stat: FileStat, digest: string): void
  /** What to keep for the next build: only entries that this one used. */
  entries(): Readonly<Record<string, string>>
  /** Whether `entries` differs from what the cache began with. */
  isChanged(): boolean
}

export function statCache(earlier: Readonly<Record<string, string>>, now: () => Date): StatCache {
  const used = new Map<string, string>()
  const unsettled = new Map<string, string>()
  let added = false
  return {
    find: stat => {
      const key = keyOf(stat)
      const digest =
        used.get(key) ??
        unsettled.get(key) ??
        (Object.hasOwn(earlier, key) ? earlier[key] : undefined)
      if (digest !== undefined && !unsettled.has(key)) used.set(key, digest)
      return digest
    },
    put: (stat, digest) => {
      const isSettled = now().getTime() / 1000 - stat.ctime.seconds >= settleSeconds
      const entries = isSettled ? used : unsettled
      entries.set(keyOf(stat), digest)
      added ||= isSettled
    },
    entries: () => Object.fromEntries(used),
    isChanged: () => added || used.size !== Object.keys(earlier).length,
  }
}

/** Raised when what is kept for a file changes: what older programs kept is then not found. */
const version = 2

function keyOf(stat: FileStat): string {
  const { ino, size, mtime, ctime, devMajor, devMinor } = stat
  const times = `${mtime.seconds}.${mtime.nanoseconds}:${ctime.seconds}.${ctime.nanoseconds}`
  return `${version}:${devMajor}:${devMinor}:${ino}:${size}:${times}`
}
