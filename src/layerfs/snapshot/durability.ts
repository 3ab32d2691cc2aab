/**
 * How committed snapshots survive a power failure, without making anyone wait for the disk.
 *
 * Syncing tens of thousands of fresh files would cost seconds per image. A commit therefore syncs
 * nothing: its files reach the disk when the kernel writes them back. Until then they are safe
 * from any death of a process but not of the machine, so:
 *
 * 1. When a process is done with the store, a helper syncs the file system in the background, and
 *    only then marks the snapshots committed before it with a file `synced`.
 * 2. The first process to open the store after a boot discards every snapshot without the mark,
 *    and all that were built on it. Nothing half-written is ever mounted; at worst a layer is
 *    unpacked again from its blob (blobs are always synced).
 * 3. What was made of a packed layer's tar has no mark of its own: that process discards it too, and
 *    it is made again when it is asked for.
 */
import { spawn } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hexOf } from '../../oci/digest.ts'
import { ignoreMissing, writeFileAtomic } from '../content/atomic-file.ts'
import { withLock } from '../content/file-lock.ts'
import { directoriesIn, readOwnText } from '../content/own-files.ts'
import { madeOfTarIn } from './packed-layer.ts'
import { findSnapshotRecord } from './snapshot-record.ts'
import type { Trash } from './trash.ts'

const mark = 'synced'

/**
 * Starts the helper for the snapshots in `directories` and returns at once. It outlives us; if it
 * cannot run, the marks are missing, which is safe.
 */
export function syncInBackground(root: string, directories: readonly string[]): void {
  if (directories.length === 0) return
  const marks = directories.map(directory => join(directory, mark))
  const helper = spawn('/bin/sh', ['-c', syncAndMark, 'sync', root, ...marks], {
    detached: true,
    stdio: 'ignore',
  })
  helper.on('error', () => {})
  helper.unref()
}

const syncAndMark = 'root=$1; shift; sync -f "$root" && touch -- "$@"'

export interface BootCheck {
  /** Remembers the boot of the last check. */
  readonly stampFile: string
  readonly lockFile: string
  /** The directory of all snapshots. */
  readonly snapshots: string
  readonly trash: Trash
}

const bootIdFile = '/proc/sys/kernel/random/boot_id'

/** Rules (2) and (3). Costs two small reads when this boot was checked before. */
export async function discardUnsynced(check: BootCheck): Promise<void> {
  // A sandbox may hide it: then no boot is told from another, and nothing is discarded.
  const boot = bootId()
  if (boot === undefined || isChecked(check, boot)) return
  await withLock(check.lockFile, 'exclusive', async () => {
    if (isChecked(check, boot)) return
    for (const directory of await unsafeSnapshots(check.snapshots)) {
      await check.trash.discard(directory)
    }
    for (const name of directoriesIn(check.snapshots)) {
      for (const path of madeOfTarIn(join(check.snapshots, name))) await check.trash.discard(path)
    }
    await writeFileAtomic(check.stampFile, boot)
  })
}

function isChecked(check: BootCheck, boot: string): boolean {
  return readOwnText(check.stampFile) === boot
}

function bootId(): string | undefined {
  try {
    return readOwnText(bootIdFile)
  } catch {
    return undefined
  }
}

/** Directories without the mark or without a record, and those of all their descendants. */
async function unsafeSnapshots(snapshots: string): Promise<Set<string>> {
  const unsafe = new Set<string>()
  const children = new Map<string, string[]>()
  for (const name of directoriesIn(snapshots)) {
    const directory = join(snapshots, name)
    const info = findSnapshotRecord(directory)
    if (info === undefined || !(await isMarked(directory))) unsafe.add(directory)
    if (info?.parent === undefined) continue
    const parent = join(snapshots, hexOf(info.parent))
    children.set(parent, [...(children.get(parent) ?? []), directory])
  }
  // A set visits what is added during the walk, so this reaches every descendant.
  for (const directory of unsafe) {
    for (const child of children.get(directory) ?? []) unsafe.add(child)
  }
  return unsafe
}

async function isMarked(directory: string): Promise<boolean> {
  return (await stat(join(directory, mark)).catch(ignoreMissing)) !== undefined
}
