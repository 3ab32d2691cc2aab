/** The settings of `config.yml` and of `REGISTRY_*`, as the flags of `tsregistry serve`. */
import { readFile } from 'node:fs/promises'
import { OciError, printable } from '../../../oci/errors.ts'
import { systemReason } from '../../../oci/system-error.ts'
import type { UpstreamSettings } from '../../../registry/server/upstream/upstream.ts'
import type { Environment } from '../../environment.ts'
import type { Purging } from '../housekeeping.ts'
import type { ServeFlags } from '../serve-flags.ts'
import { type StoragePlace, storagePlace } from '../storage-place.ts'
import type { ListEntry } from './key-list.ts'
import type { Texts } from './key-value.ts'
import { keys } from './keys.ts'
import { idOf, readConfig, type Setting } from './read-config.ts'
import { readVariables } from './read-variables.ts'
import { s3PlaceFrom } from './s3-settings.ts'
import { upstreamsFrom } from './upstream-settings.ts'

export interface Given {
  readonly flags: ServeFlags
  /** Those that the command line or a variable of ours gave: they win. */
  readonly given: ReadonlySet<string>
  readonly environment: Environment
}

export interface Configured {
  readonly flags: ServeFlags
  readonly given: ReadonlySet<string>
  readonly place: StoragePlace
  readonly upstreams: readonly UpstreamSettings[]
  readonly accessLog: boolean
  readonly logFields: Texts
  readonly headers: Texts
  /** Of uploads alone; absent: with the collection of garbage. */
  readonly purging: Purging | undefined
  readonly notifications: {
    readonly endpoints: readonly ListEntry[]
    readonly includeReferences: boolean
  }
  /** Paths of keys that change nothing, and variables that mean nothing. */
  readonly withoutEffect: readonly string[]
}

const centuryMs = 100 * 365 * 24 * 3600_000

/**
 * Flags win over variables, variables over the file. Throws `invalid` with every mistake of the
 * configuration, and usage errors.
 */
export async function configure({ flags, given, environment }: Given): Promise<Configured> {
  const file = flags.config
  const fromFile = file === undefined ? [] : readConfig(file, await readText(file))
  const variables = readVariables(environment.variables)
  const settings = new Map<string, Setting>()
  for (const setting of [...fromFile, ...variables.settings]) settings.set(idOf(setting), setting)
  const settingOf = <T>(path: string) => settings.get(path)?.value as T | undefined
  const purging = purgingFrom(settingOf)
  const own = { ...(file === undefined ? {} : defaultsOfFile()), ...flagsFrom(settings) }
  const all = { ...flags, ...without(own, given) } as ServeFlags
  const ageMs = all['upload-expiry']
  const isLeftAlone = !purging.isOn || purging.isDryRun
  const allGiven = new Set([...given, ...Object.keys(flagsFrom(settings))])
  const isPlaceGiven = given.has('root') || given.has('storage')
  const place = isPlaceGiven
    ? storagePlace(flags, given, environment)
    : placeFrom(settings, { chosen: variables.storage, flags: all, environment })
  const isRedirecting = settingOf<boolean>('storage.redirect.disable') === false
  return {
    flags: {
      ...all,
      ...(isRedirecting && place.kind === 's3' ? { redirect: ['all'] } : {}),
      ...(isLeftAlone ? { 'upload-expiry': centuryMs } : {}),
    },
    purging:
      purging.everyMs === undefined ? undefined : { ...purging, ageMs, everyMs: purging.everyMs },
    given: allGiven,
    place,
    upstreams: upstreamsFrom([...settings.values()], all.upstream, environment.variables),
    accessLog: settingOf<boolean>('log.accesslog.disabled') !== true,
    logFields: settingOf<Texts>('log.fields') ?? {},
    headers: checkHeaders(
      settingOf<Texts>('http.headers') ?? {},
      `${settings.get('http.headers')?.where}: http.headers`,
    ),
    notifications: {
      endpoints: settingOf<readonly ListEntry[]>('notifications.endpoints') ?? [],
      includeReferences: settingOf<boolean>('notifications.events.includereferences') === true,
    },
    withoutEffect: [
      ...[...settings.values()].flatMap(({ key, where }) =>
        key.use === 'accepted' ? [`${where}: ${key.path}: ${key.help}`] : [],
      ),
      ...variables.unknown.map(name => `${name}: unknown variable`),
    ],
  }
}

/** `everyMs`: a look at an interval of its own, when there is to be one. */
function purgingFrom(settingOf: <T>(path: string) => T | undefined) {
  const key = 'storage.maintenance.uploadpurging'
  const isOn = settingOf<boolean>(`${key}.enabled`) !== false
  const isDryRun = settingOf<boolean>(`${key}.dryrun`) === true
  const stated = settingOf<number>(`${key}.interval`)
  const everyMs = stated ?? (isDryRun ? 24 * 3600_000 : undefined)
  return { isOn, isDryRun, everyMs: isOn && everyMs !== 0 ? everyMs : undefined }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new OciError(
      'invalid',
      `Cannot read the configuration ${printable(file)}: ${systemReason(cause)}`,
      { cause },
    )
  }
}

function flagsFrom(settings: ReadonlyMap<string, Setting>): Record<string, unknown> {
  const own: Record<string, unknown> = {}
  for (const { key, value } of settings.values()) {
    if (key.use === 'taken' && key.flag !== undefined) own[key.flag] = value
  }
  return own
}

/** Keys whose absence from a file means something else than that of the flag. */
const fileDefaults: readonly string[] = ['storage.delete.enabled', 'http.debug.prometheus.enabled']

function defaultsOfFile(): Record<string, unknown> {
  const own: Record<string, unknown> = {}
  for (const key of keys) {
    if (key.use !== 'taken' || key.flag === undefined || !fileDefaults.includes(key.path)) continue
    own[key.flag] = key.default
  }
  return own
}

function without(own: Readonly<Record<string, unknown>>, given: ReadonlySet<string>) {
  return Object.fromEntries(Object.entries(own).filter(([flag]) => !given.has(flag)))
}

interface PlaceOptions {
  readonly chosen: 'filesystem' | 's3' | undefined
  readonly flags: ServeFlags
  readonly environment: Environment
}

/** Throws `invalid` for two storages, unless `REGISTRY_STORAGE` chose. */
function placeFrom(
  settings: ReadonlyMap<string, Setting>,
  { chosen, flags, environment }: PlaceOptions,
): StoragePlace {
  const first = (section: string) =>
    [...settings.values()].find(({ key }) => key.path.startsWith(`storage.${section}.`))
  const ofS3 = first('s3')
  const ofFolder = first('filesystem')
  if (chosen === undefined && ofS3 !== undefined && ofFolder !== undefined) {
    throw new OciError(
      'invalid',
      `Cannot choose a storage: storage.filesystem (${ofFolder.where}) and storage.s3 (${ofS3.where}) are both there`,
      { hint: 'Remove one, or set REGISTRY_STORAGE to filesystem or s3' },
    )
  }
  const isS3 = chosen === undefined ? ofS3 !== undefined : chosen === 's3'
  if (isS3) return s3PlaceFrom(path => settings.get(path)?.value, environment)
  return storagePlace({ root: flags.root, storage: undefined }, new Set(), environment)
}

/** What Node would refuse when the first reply is sent. */
export function checkHeaders(headers: Texts, where: string): Texts {
  for (const [name, values] of Object.entries(headers)) {
    const isName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)
    if (isName && values.every(value => /^[\x20-\x7e]*$/.test(value))) continue
    throw new OciError('invalid', `${where}: expected names and values of HTTP headers`)
  }
  return headers
}
