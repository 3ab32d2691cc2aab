import { printable } from '../oci/errors.ts'
import { usageError } from './cli-error.ts'
import { parseDuration } from './flags/flag-values.ts'

/**
 * A point in time as docker takes it: `10m` ago, `2026-05-01`, `2026-05-01T12:00:00Z`, seconds of
 * the epoch. In milliseconds of the epoch; throws a usage error that names the flag.
 */
export function parseMoment(flag: string, text: string, now: Date): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000
  const date = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d)?)?$/.test(text) ? Date.parse(text) : NaN
  if (!Number.isNaN(date)) return date
  try {
    return now.getTime() - parseDuration(text)
  } catch {
    throw usageError(
      `Cannot use flag ${flag}: expected a duration such as 10m or a time such as 2026-05-01T12:00:00Z, found "${printable(text)}"`,
    )
  }
}
