/**
 * The end of a container whose monitor was killed. The kernel then kills its first process, unless
 * that was a set-id program, which nobody's death may signal; so it is made sure of here.
 */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../../oci/errors.ts'
import { processStart } from './process-start.ts'

/** Resolves when the process is gone, and with it all others of its container. */
export async function killOrphan(pid: number): Promise<void> {
  while (isFirstOfContainer(pid)) {
    process.kill(pid, constants.signals.SIGKILL)
    await sleep(5)
  }
}

/**
 * The same of a process of an earlier time. One that is of another user than us is none of ours to
 * end: its owner's next command does.
 */
export async function killLeftover(left: {
  readonly pid: number
  readonly start: string
}): Promise<void> {
  if (processStart(left.pid) !== left.start) return
  await killOrphan(left.pid).catch((error: unknown) => {
    if (!hasCode(error, 'EPERM') && !hasCode(error, 'ESRCH')) throw error
  })
}

/** Numbers are used again: only a process that is the first of a namespace below ours is meant. */
function isFirstOfContainer(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const isDead = /^State:\t[ZX]/m.test(status)
    return !isDead && /^NSpid:\t\d+\t(?:\d+\t)*1$/m.test(status)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return false
    throw error
  }
}
