/**
 * Small files that are replaced whole: a reader sees the old bytes or the new ones, never a mix.
 *
 *   .name.<random>.tmp ──write, fsync──► rename ──► name ──► fsync of the directory
 */
import { randomUUID } from 'node:crypto'
import {
  createWriteStream,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { hasCode } from '../../oci/errors.ts'

export interface AtomicOptions {
  /** Permission bits of the new file; default 0o600. */
  readonly mode?: number
  /**
   * `synced` (the default) survives a power failure. After one, `whole` is the old file or the new
   * one; it asks nothing of the directory but to be written to. `unsynced` may come back empty or
   * missing: for what a reader checks and can make again.
   */
  readonly durability?: 'synced' | 'whole' | 'unsynced'
}

/**
 * Replaces `path`, making its directory when missing. On failure the old file stands and no
 * temporary one is left; a killed process leaves one for {@link sweepTemporaries}.
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  options: AtomicOptions = {},
): Promise<void> {
  const directory = dirname(path)
  const temporary = temporaryFor(path)
  const { durability = 'synced' } = options
  if (durability === 'unsynced') return replaceUnsynced(path, data, options)
  const isSynced = durability === 'synced'
  if (isSynced) await makeDirectorySynced(directory)
  else makeDirectory(directory, 0o700)
  try {
    await using file = await open(temporary, 'wx', options.mode ?? 0o600)
    await file.writeFile(data)
    await file.sync()
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  if (isSynced) await syncDirectory(directory)
}

/** Synchronous: a build writes a few of these per step, and a trip to the thread pool costs more. */
function replaceUnsynced(
  path: string,
  data: string | Uint8Array,
  { mode = 0o600 }: AtomicOptions,
): void {
  const temporary = temporaryFor(path)
  try {
    inDirectory(dirname(path), () => writeFileSync(temporary, data, { flag: 'wx', mode }))
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

export interface StreamOptions extends AtomicOptions {
  readonly signal?: AbortSignal
}

/** As {@link writeFileAtomic}, of bytes that stream by, in a directory that exists. */
export async function streamFileAtomic(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { mode = 0o600, durability = 'synced', ...stop }: StreamOptions = {},
): Promise<void> {
  const temporary = temporaryFor(path)
  const flush = durability !== 'unsynced'
  try {
    // `wx`: nobody's link is followed that stands there already.
    const file = createWriteStream(temporary, { flags: 'wx', mode, flush })
    await pipeline(Readable.from(chunks), file, stop)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  if (durability === 'synced') await syncDirectory(dirname(path))
}

/** Not by `basename` and `join`: they look at each character, of paths that a step has several of. */
function temporaryFor(path: string): string {
  const name = path.lastIndexOf('/') + 1
  return `${path.slice(0, name)}.${path.slice(name)}.${randomUUID()}.tmp`
}

/** Makes the names in a directory (files made, renamed, removed) survive a power failure. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r')
  await directory.sync()
}

/**
 * Makes a directory, and those above it, when missing: each one's name is then on the disk, which a
 * sync of what is inside it does not see to.
 */
export async function makeDirectorySynced(path: string): Promise<void> {
  const topmost = makeDirectory(path, 0o700)
  if (topmost === undefined) return
  for (let made = resolve(path); made.length >= topmost.length; made = dirname(made)) {
    await syncDirectory(dirname(made))
  }
}

/**
 * Makes a directory, and those above it, when missing: the topmost that was made. As Node's `mkdir`
 * with `recursive`, which goes round without end where none can be made, as in /proc, and calls
 * every failure of a disk ENOENT.
 */
export function makeDirectory(path: string, mode = 0o777): string | undefined {
  // Nearly always, and of paths as they are.
  if (isThere(path)) return undefined
  const missing: string[] = []
  for (let each = resolve(path); !isThere(each); each = dirname(each)) missing.push(each)
  for (const each of missing.reverse()) {
    try {
      mkdirSync(each, { mode })
    } catch (error) {
      // Another process was first.
      if (!hasCode(error, 'EEXIST') || !isThere(each)) throw error
    }
  }
  return missing[0]
}

/**
 * Runs `act`, which makes something in a directory; where that is missing, makes it, and runs `act`
 * again. So it is not looked for each time.
 */
export function inDirectory<T>(directory: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
  makeDirectory(directory, 0o700)
  return act()
}

/** Throws what is in its place. */
function isThere(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found?.isDirectory() === false) mkdirSync(path)
  return found !== undefined
}

/** Whether a directory entry is a file of {@link writeFileAtomic} that is not finished. */
export function isTemporary(name: string): boolean {
  return name.startsWith('.') && name.endsWith('.tmp')
}

/** A write takes milliseconds: older than this, its process is gone. */
const abandonedAfterMs = 60 * 60 * 1000

/** Removes what killed processes left in `directory`, which need not exist. */
export async function sweepTemporaries(directory: string, now = Date.now()): Promise<void> {
  for (const name of await namesIn(directory)) {
    if (!isTemporary(name)) continue
    const path = join(directory, name)
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found?.isFile() && now - found.mtimeMs > abandonedAfterMs) await rm(path, { force: true })
  }
}

/** The names in a directory, sorted; none when it does not exist. Read at once, as small files are. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return readdirSync(directory).sort()
  } catch (error) {
    return ignoreMissing(error) ?? []
  }
}

/** Idempotent. For a file, `rm` of Node loads what removes trees. */
export function removeFile(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    ignoreMissing(error)
  }
}

/** For `catch`: a missing file is `undefined`, any other failure is thrown on. */
export function ignoreMissing(error: unknown): undefined {
  if (!hasCode(error, 'ENOENT')) throw error
}
