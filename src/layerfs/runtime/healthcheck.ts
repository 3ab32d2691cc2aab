/**
 * What a container is checked with: its image's HEALTHCHECK and the user's wishes, as docker puts them
 * together. Pure.
 */
import { OciError, printable } from '../../oci/errors.ts'
import type { Healthcheck, RunConfig } from '../../oci/image-config.ts'
import type { HealthCheck } from '../sandbox/spec.ts'

/** Docker's, in nanoseconds as all of {@link Healthcheck}. */
const defaults = {
  Interval: 30e9,
  Timeout: 30e9,
  StartPeriod: 0,
  StartInterval: 5e9,
  Retries: 3,
} as const

/**
 * Each wish goes before what the image says of it; nothing, and 0, is no wish. Throws `invalid` for
 * wishes without a command to check with.
 */
export function mergedHealthcheck(
  { Healthcheck: image }: Pick<RunConfig, 'Healthcheck'>,
  wished: Healthcheck | undefined,
): Healthcheck | undefined {
  if (wished === undefined) return image
  const own = Object.entries(wished).filter(([, value]) => value !== 0)
  const merged: Healthcheck = { ...image, ...Object.fromEntries(own) }
  if ((merged.Test ?? []).length > 0) return merged
  throw new OciError(
    'invalid',
    'Cannot check the health of the container: the image names no command',
    {
      hint: 'Give one: --health-cmd',
    },
  )
}

/** Docker's, whatever SHELL the image has for its own instructions. */
const shell = ['/bin/sh', '-c']

/** `undefined` where nothing is to be checked. Throws `invalid` for a check that cannot be. */
export function healthCheckOf(healthcheck: Healthcheck | undefined): HealthCheck | undefined {
  const [kind = 'NONE', ...words] = healthcheck?.Test ?? []
  if (kind === 'NONE') return undefined
  return {
    argv: assertWords(kind, kind === 'CMD-SHELL' ? [...shell, ...words] : words),
    interval: milliseconds(healthcheck, 'Interval'),
    timeout: milliseconds(healthcheck, 'Timeout'),
    startPeriod: milliseconds(healthcheck, 'StartPeriod'),
    startInterval: milliseconds(healthcheck, 'StartInterval'),
    retries: settingOf(healthcheck, 'Retries'),
  }
}

function assertWords(kind: string, argv: readonly string[]): readonly string[] {
  if ((kind === 'CMD' || kind === 'CMD-SHELL') && argv.length > 0) return argv
  throw new OciError(
    'invalid',
    `Cannot check the health of the container by "${printable(kind)}": expected CMD or CMD-SHELL and a command, or NONE`,
    { hint: 'Do without: --no-healthcheck' },
  )
}

function settingOf(healthcheck: Healthcheck | undefined, name: keyof typeof defaults): number {
  const value = healthcheck?.[name] ?? 0
  return value === 0 ? defaults[name] : value
}

/** At least one: a shorter one would have no end. */
function milliseconds(
  healthcheck: Healthcheck | undefined,
  name: Exclude<keyof typeof defaults, 'Retries'>,
): number {
  return Math.ceil(settingOf(healthcheck, name) / 1e6)
}
