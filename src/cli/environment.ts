/**
 * Environment: what the process was given besides its arguments, as typed values. The only reader
 * of `process.env`; everything below the command line gets these values as parameters.
 */
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EnvironmentLookup } from './flags.ts'

export type Variables = Readonly<Record<string, string | undefined>>

/** As the variables are spelled; the lower-case spelling wins. Empty ones are absent. */
export interface ProxySettings {
  readonly http?: string
  readonly https?: string
  readonly all?: string
  /** Comma-separated host names, `.suffixes` and CIDRs that are reached directly. */
  readonly none?: string
}

export interface Environment {
  /** One variable: a flag's default, a secret's `env=`. */
  readonly lookup: EnvironmentLookup
  /** Where images, containers and caches live: `TSBUILD_ROOT`, else by the user (README). */
  readonly root: string
  /** The directory of docker's config.json. */
  readonly dockerConfig: string
  /** Inline credentials, which come before those of the file. */
  readonly dockerAuthConfig?: string
  readonly proxies: ProxySettings
  readonly color: 'always' | 'never' | 'auto'
  /** Neither colours nor cursor movements: `TERM=dumb`, or no TERM at all. */
  readonly isDumbTerminal: boolean
  readonly sourceDateEpoch?: string
  readonly temporaryDirectory: string
  /** Print the stack of a bug. */
  readonly isDebug: boolean
}

export function readEnvironment(
  variables: Variables = process.env,
  userId: number = process.getuid?.() ?? 0,
): Environment {
  const lookup: EnvironmentLookup = name => nonEmpty(variables[name])
  const home = lookup('HOME') ?? homedir()
  const dockerAuthConfig = lookup('DOCKER_AUTH_CONFIG')
  const sourceDateEpoch = lookup('SOURCE_DATE_EPOCH')
  return {
    lookup,
    root: lookup('TSBUILD_ROOT') ?? defaultRoot(lookup, home, userId),
    dockerConfig: lookup('DOCKER_CONFIG') ?? join(home, '.docker'),
    ...(dockerAuthConfig === undefined ? {} : { dockerAuthConfig }),
    proxies: proxySettings(lookup),
    color: colorSetting(lookup),
    isDumbTerminal: (lookup('TERM') ?? 'dumb') === 'dumb',
    ...(sourceDateEpoch === undefined ? {} : { sourceDateEpoch }),
    temporaryDirectory: tmpdir(),
    isDebug: lookup('TSBUILD_DEBUG') !== undefined,
  }
}

function defaultRoot(lookup: EnvironmentLookup, home: string, userId: number): string {
  if (userId === 0) return '/var/lib/tsbuild'
  return join(lookup('XDG_DATA_HOME') ?? join(home, '.local/share'), 'tsbuild')
}

function proxySettings(lookup: EnvironmentLookup): ProxySettings {
  const either = (name: string) => lookup(name) ?? lookup(name.toUpperCase())
  const entries = [
    ['http', either('http_proxy')],
    ['https', either('https_proxy')],
    ['all', either('all_proxy')],
    ['none', either('no_proxy')],
  ]
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

/** FORCE_COLOR and CLICOLOR_FORCE say yes, NO_COLOR and CLICOLOR=0 no; the first that speaks wins. */
function colorSetting(lookup: EnvironmentLookup): Environment['color'] {
  const forced = lookup('FORCE_COLOR') ?? lookup('CLICOLOR_FORCE')
  if (forced !== undefined) return forced === '0' || forced === 'false' ? 'never' : 'always'
  if (lookup('NO_COLOR') !== undefined || lookup('CLICOLOR') === '0') return 'never'
  return 'auto'
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
