/** What tells a process from another that gets its number later. */
import { readFileSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'

/**
 * When the process started, in ticks since boot: the 22nd field, counted after the name's `)`.
 * Nothing for one that is gone or only waits for its parent to notice.
 */
export function processStart(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined
    throw error
  }
}
