/**
 * Removing cgroups: our own after a run, and those of processes that were killed before they could.
 */
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../oci/errors.ts'

/** `pid.start`: names a process for ever, though its number will be used again. */
export function ownerMark(): string {
  return `${process.pid}.${startOf(process.pid) ?? 0}`
}

/** Removes the cgroups in `parent`, which need not exist, whose owner is gone. */
export function removeLeftovers(parent: string): void {
  if (!existsSync(parent)) return
  for (const entry of readdirSync(parent)) {
    const [, pid, start] = /\.(\d+)\.(\d+)$/.exec(entry) ?? []
    if (pid === undefined || startOf(Number(pid)) === start) continue
    tryRemove(join(parent, entry))
  }
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

/**
 * When the process started, in ticks since boot: the 22nd field, counted after the name's `)`.
 * Nothing for one that is gone or only waits for its parent to notice.
 */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined
    throw error
  }
}
