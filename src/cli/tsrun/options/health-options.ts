/** How a container is checked: docker's flags, and what they say in an image's words. */
import type { Healthcheck } from '../../../oci/image-config.ts'
import { usageError } from '../../cli-error.ts'
import type { FlagTable, FlagValues } from '../../flags/flags.ts'

const health = 'Health'

export const healthFlags = {
  'health-cmd': {
    kind: 'string',
    value: 'COMMAND',
    group: health,
    help: 'Shell command that fails while something is wrong',
  },
  'health-interval': {
    kind: 'duration',
    value: 'DURATION',
    group: health,
    help: 'Time from one check to the next: 30s',
  },
  'health-timeout': {
    kind: 'duration',
    value: 'DURATION',
    group: health,
    help: 'How long a check may take before it has failed: 30s',
  },
  'health-retries': {
    kind: 'integer',
    value: 'N',
    group: health,
    help: 'How many checks in a row must fail for it to be unhealthy: 3',
  },
  'health-start-period': {
    kind: 'duration',
    value: 'DURATION',
    group: health,
    help: 'How long it may take to start, while which no failure counts: 0s',
  },
  'health-start-interval': {
    kind: 'duration',
    value: 'DURATION',
    group: health,
    help: 'Time between checks until then: 5s',
  },
  'no-healthcheck': {
    kind: 'boolean',
    group: health,
    help: 'Do not check it, whatever the image says',
  },
} as const satisfies FlagTable

/**
 * `undefined` where no flag is given, or all are 0, which means what the image says. Throws a usage
 * error that names the flag.
 */
export function healthcheckFrom(flags: FlagValues<typeof healthFlags>): Healthcheck | undefined {
  const command = flags['health-cmd'] ?? ''
  const wished: Healthcheck = {
    ...(command === '' ? {} : { Test: ['CMD-SHELL', command] }),
    Interval: nanoseconds(flags, 'health-interval'),
    Timeout: nanoseconds(flags, 'health-timeout'),
    StartPeriod: nanoseconds(flags, 'health-start-period'),
    StartInterval: nanoseconds(flags, 'health-start-interval'),
    Retries: retriesFrom(flags['health-retries'] ?? 0),
  }
  const given = Object.entries(wished).filter(([, value]) => value !== 0)
  if (given.length > 0 && flags['no-healthcheck']) {
    throw usageError(
      'Cannot use flag --no-healthcheck with flags --health-…: they say how to check',
    )
  }
  if (flags['no-healthcheck']) return { Test: ['NONE'] }
  return given.length === 0 ? undefined : Object.fromEntries(given)
}

type Duration =
  | 'health-interval'
  | 'health-timeout'
  | 'health-start-period'
  | 'health-start-interval'

function nanoseconds(flags: FlagValues<typeof healthFlags>, name: Duration): number {
  const milliseconds = flags[name] ?? 0
  if (milliseconds === 0 || milliseconds >= 1) return Math.round(milliseconds * 1e6)
  throw usageError(`Cannot use flag --${name}: expected at least 1ms, got ${milliseconds}ms`)
}

/** What fits in 32 bits, as a Dockerfile's. */
const mostRetries = 2 ** 31 - 1

function retriesFrom(count: number): number {
  if (count >= 0 && count <= mostRetries) return count
  throw usageError(`Cannot use flag --health-retries: expected 0 to ${mostRetries}, got ${count}`)
}
