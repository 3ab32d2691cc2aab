/**
 * Environment: what the process was given besides its arguments, as typed values. The only reader
 * of `process.env`; everything below the command line gets these values as parameters.
 */
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ProxySettings } from '../registry/client/proxy.ts'
import type { EnvironmentLookup } from './flags/flags.ts'

export type Variables = Readonly<Record<string, string | undefined>>

export interface Environment {
  /** One variable: a flag's default, a secret's `env=`. */
  readonly lookup: EnvironmentLookup
  /** Where images, containers and caches live: `TSBUILD_ROOT`, else by the user (README). */
  readonly root: string
  /** `TSBUILD_SNAPSHOTTER`: how layers are put together; absent: as the kernel can. */
  readonly snapshotter?: string
  /** All of them, for what other programs define: where docker and podman keep logins. */
  readonly variables: Variables
  readonly proxies: ProxySettings
  readonly color: 'always' | 'never' | 'auto'
  /** Neither colours nor cursor movements: `TERM=dumb`, or no TERM at all. */
  readonly isDumbTerminal: boolean
  readonly sourceDateEpoch?: string
  readonly temporaryDirectory: string
  /** Where other native programs are than those of the build: for sanitizers. */
  readonly nativeFolder?: string
  /** Print the stack of a bug. */
  readonly isDebug: boolean
}

export function readEnvironment(
  variables: Variables = process.env,
  userId: number = process.getuid?.() ?? 0,
): Environment {
  const lookup: EnvironmentLookup = name => nonEmpty(variables[name])
  const home = lookup('HOME') ?? homedir()
  const sourceDateEpoch = lookup('SOURCE_DATE_EPOCH')
  const nativeFolder = lookup('TSBUILD_NATIVE')
  const snapshotter = lookup('TSBUILD_SNAPSHOTTER')
  return {
    lookup,
    root: lookup('TSBUILD_ROOT') ?? defaultRoot(lookup, home, userId),
    variables,
    proxies: proxySettings(lookup),
    color: colorSetting(lookup),
    isDumbTerminal: (lookup('TERM') ?? 'dumb') === 'dumb',
    ...(snapshotter === undefined ? {} : { snapshotter }),
    ...(sourceDateEpoch === undefined ? {} : { sourceDateEpoch }),
    temporaryDirectory: tmpdir(),
    ...(nativeFolder === undefined ? {} : { nativeFolder }),
    isDebug: lookup('TSBUILD_DEBUG') !== undefined,
  }
}

function defaultRoot(lookup: EnvironmentLookup, home: string, userId: number): string {
  if (userId === 0) return '/var/lib/tsbuild'
  return join(lookup('XDG_DATA_HOME') ?? join(home, '.local/share'), 'tsbuild')
}

/** The lower-case spelling wins; empty ones are absent. */
function proxySettings(lookup: EnvironmentLookup): ProxySettings {
  const either = (name: string) => lookup(name) ?? lookup(name.toUpperCase())
  const entries = [
    ['http', either('http_proxy')],
    ['https', either('https_proxy')],
    ['all', either('all_proxy')],
    ['no', either('no_proxy')],
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
