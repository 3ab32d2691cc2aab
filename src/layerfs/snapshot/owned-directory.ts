/**
 * Directories that belong to one process: active snapshots, temporary directories.
 *
 *   <parent>/<key>/    locked by its owner from before anyone else can see it as abandoned
 *
 * An owner that is killed loses the lock, and {@link sweepOwned} of any other process discards the
 * directory.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { ignoreMissing, inDirectory } from '../content/atomic-file.ts'
import { type FileLock, tryLock } from '../content/file-lock.ts'
import { directoriesIn } from '../content/own-files.ts'
import type { Trash } from './trash.ts'

/** Disposing it discards the directory, if it is still there, and ends the ownership. */
export interface OwnedDirectory extends AsyncDisposable {
  readonly key: string
  readonly path: string
  /** Moves it to where it outlives us. The lock, which stays on it, is now the caller's. */
  moveTo(path: string): Promise<FileLock>
}

/** As long as a container's ID, which such a key can become. */
const keyBytes = 32

export async function openOwned(parent: string, trash: Trash): Promise<OwnedDirectory> {
  for (;;) {
    const key = randomBytes(keyBytes).toString('hex')
    const path = join(parent, key)
    inDirectory(parent, () => mkdirSync(path, { mode: 0o700 }))
    const lock = lockUnlessSwept(path)
    if (lock !== undefined) return owned({ key, path }, lock, trash)
  }
}

/** A sweep may come between our making the directory and our locking it: then another is made. */
function lockUnlessSwept(path: string): FileLock | undefined {
  try {
    return tryLock(path, 'exclusive')
  } catch (error) {
    return ignoreMissing(error)
  }
}

function owned(
  place: { readonly key: string; readonly path: string },
  lock: FileLock,
  trash: Trash,
): OwnedDirectory {
  let isOpen = true
  return {
    ...place,
    moveTo: async path => {
      await rename(place.path, path)
      isOpen = false
      return lock
    },
    [Symbol.asyncDispose]: async () => {
      if (!isOpen) return
      isOpen = false
      await trash.discard(place.path)
      lock[Symbol.dispose]()
    },
  }
}

/** Discards the directories in `parent` whose owners are gone. */
export async function sweepOwned(parent: string, trash: Trash): Promise<void> {
  for (const key of directoriesIn(parent)) {
    const path = join(parent, key)
    using lock = lockUnlessSwept(path)
    if (lock !== undefined) await trash.discard(path)
  }
}
