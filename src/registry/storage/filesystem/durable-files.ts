/**
 * The three steps that make a file survive a power failure: its bytes are synced, it appears whole
 * under its name (link or rename), and the directory that names it is synced.
 */
import { constants } from 'node:fs'
import { link, mkdir, open, rename, rmdir, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { hasCode } from '../../../oci/errors.ts'

/** Makes `path` and its missing parents, each synced into its parent. */
export async function makeDirectory(path: string): Promise<void> {
  const parents: string[] = []
  await make(path, parents)
  // At once: the file system writes them together.
  await Promise.all(parents.map(syncDirectory))
}

/** Notes the parents of those that it made. */
async function make(path: string, parents: string[]): Promise<void> {
  try {
    await mkdir(path, { mode: 0o755 })
    parents.push(dirname(path))
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return
    if (!hasCode(error, 'ENOENT')) throw error
    await make(dirname(path), parents)
    await make(path, parents)
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** Creates `path`, which must not exist, with `bytes`. */
export async function writeNewFile(
  path: string,
  bytes: Uint8Array,
  durability: 'synced' | 'cached',
): Promise<void> {
  const file = await open(path, 'wx', 0o644)
  try {
    if (bytes.length > 0) await file.writeFile(bytes)
    // An empty file is its name, and its directory has that.
    if (durability === 'synced' && bytes.length > 0) await file.datasync()
  } finally {
    await file.close()
  }
}

/** Gives `temporary` the name `path`, which must be free: throws `EEXIST`. */
export async function publishNew(temporary: string, path: string): Promise<void> {
  await withParent(path, () => link(temporary, path))
  await unlink(temporary)
}

/** Gives `temporary` the name `path`, in place of what had it. */
export async function publishOver(temporary: string, path: string): Promise<void> {
  await withParent(path, () => rename(temporary, path))
}

/**
 * Runs `step`, making the parent directory when it is missing. Again and again: another request may
 * delete the last file beside this one, and its empty directory, in between.
 */
export async function withParent<T>(path: string, step: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await step()
    } catch (error) {
      if (!hasCode(error, 'ENOENT') || attempt === 5) throw error
      await makeDirectory(dirname(path))
    }
  }
}

/** Removes `directory` and its parents while they are empty, up to and not including `top`. */
export async function removeEmptyDirectories(directory: string, top: string): Promise<void> {
  for (let path = directory; path !== top; path = dirname(path)) {
    try {
      await rmdir(path)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) continue
      if (hasCode(error, 'ENOTEMPTY') || hasCode(error, 'EBUSY')) return
      throw error
    }
  }
}
