/** Who cleans up the store is the only one to do so; others go on building, pulling, running. */
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from '../../oci/errors.ts'
import type { CliContext } from '../command.ts'

const pauseMs = 250

/** For how long, unless the user says. */
export const defaultWaitMs = 60_000

/**
 * Runs `task` again while it throws `conflict`, for `waitMs` at most, and says once that it waits.
 */
export async function whenFree<T>(
  task: () => Promise<T>,
  { signal, stderr }: Pick<CliContext, 'signal' | 'stderr'>,
  waitMs = defaultWaitMs,
): Promise<T> {
  const end = Date.now() + waitMs
  for (let isTold = false; ; isTold = true) {
    try {
      return await task()
    } catch (error) {
      if (!hasCode(error, 'conflict') || Date.now() >= end) throw error
    }
    if (!isTold) stderr.write('Waiting for another clean-up of the store to end\n')
    await pause(pauseMs, undefined, { signal })
  }
}
