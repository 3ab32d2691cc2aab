/**
 * Removing cgroups: our own after a run, and those of processes that were killed before they could.
 */
import { existsSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../oci/errors.ts'
import { cgroupHierarchies, type Hierarchies } from './cgroup-hierarchies.ts'
import { processStart } from './process-start.ts'

let knownMark: string | undefined

/** `pid.start`: names a process for ever, though its number will be used again. */
export function ownerMark(): string {
  knownMark ??= `${process.pid}.${processStart(process.pid) ?? 0}`
  return knownMark
}

/** Wherever a run of ours may have made cgroups. */
export function removeAllLeftovers({ v1, v2 }: Hierarchies = cgroupHierarchies()): void {
  const mounts = new Set([...(v2 === undefined ? [] : [v2]), ...Object.values(v1)])
  for (const mount of mounts) removeLeftovers(join(mount, 'tsbuild'))
}

const sweptAt = new Map<string, number>()
const sweepEveryMs = 500

/** As {@link removeLeftovers}, unless that was done a moment ago: a build asks at each of its steps. */
export function removeLeftoversNowAndThen(parent: string): void {
  const now = Date.now()
  if (now - (sweptAt.get(parent) ?? 0) < sweepEveryMs) return
  removeLeftovers(parent)
  sweptAt.set(parent, now)
}

/** Removes the cgroups in `parent`, which need not exist, whose owner is gone. */
export function removeLeftovers(parent: string): void {
  if (!existsSync(parent)) return
  for (const entry of readdirSync(parent)) {
    const [, pid, start] = /\.(\d+)\.(\d+)$/.exec(entry) ?? []
    if (pid === undefined || processStart(Number(pid)) === start) continue
    removeWithChildren(join(parent, entry))
  }
}

/** Health checks have one of their own in that of their container, and so may who is privileged. */
function removeWithChildren(directory: string): void {
  if (tryRemove(directory)) return
  for (const child of readdirSync(directory, { withFileTypes: true })) {
    if (child.isDirectory()) removeWithChildren(join(directory, child.name))
  }
  tryRemove(directory)
}

/**
 * Removes an empty cgroup. Its last process may be dead and not yet forgotten; when that takes
 * long, the next run removes what stays.
 */
export function removeCgroup(directory: string): void {
  for (let attempt = 0; attempt < 50; attempt++) {
    if (tryRemove(directory)) return
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
  }
}

function tryRemove(directory: string): boolean {
  try {
    rmdirSync(directory)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true
    // Busy, or of another user than us.
    if ((['EBUSY', 'EACCES', 'EPERM', 'EROFS'] as const).some(code => hasCode(error, code))) {
      return false
    }
    throw error
  }
}
