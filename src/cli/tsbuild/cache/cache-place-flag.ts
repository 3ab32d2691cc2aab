/** What `--cache-from` and `--cache-to` name: where a cache is, and its settings. */

import type { CachePlace } from '../../../builder/cache/cache-place.ts'
import { type LayoutCache, layoutCache } from '../../../builder/cache/layout-cache.ts'
import { registryCache } from '../../../builder/cache/registry-cache.ts'
import { parseDigest } from '../../../oci/digest.ts'
import { parseReference } from '../../../oci/reference.ts'
import type { RegistryClient } from '../../../registry/client/client.ts'
import { usageError } from '../../cli-error.ts'
import { parseAs } from '../../flags/flag-values.ts'
import type { EnvironmentLookup } from '../../flags/flags.ts'
import { flagNamed, settingsFrom, splitFields } from '../key-values.ts'
import { s3Place } from './s3-flag.ts'

export interface CacheWorld {
  readonly client: RegistryClient
  readonly lookup: EnvironmentLookup
  /** The registry client then sends nothing by itself. */
  readonly offline: boolean
}

export interface CacheFlag {
  /** `--cache-to "type=…"`, for messages. */
  readonly subject: string
  readonly type: string
  readonly settings: ReadonlyMap<string, string>
}

/** By type, the settings that it has. */
export type CacheTypes = Readonly<Record<string, readonly string[]>>

const elsewhere: Readonly<Record<string, string>> = {
  gha: 'GitHub keeps it for its own runners: use type=registry or type=local',
  azblob: 'Use type=registry or type=s3',
}

/** A bare name is a repository's. Throws a usage error for a type, or a setting, that there is not. */
export function parseCacheFlag(flag: string, text: string, types: CacheTypes): CacheFlag {
  const subject = flagNamed(flag, text)
  if (!text.includes('=')) {
    return { subject, type: 'registry', settings: new Map([['ref', text]]) }
  }
  const fields = splitFields(text)
  const type = fields.find(one => one.startsWith('type='))?.slice('type='.length) ?? ''
  const reason = elsewhere[type]
  if (reason !== undefined) throw usageError(`Flag --${flag} type=${type} is not supported`, reason)
  const keys = Object.hasOwn(types, type) ? types[type] : undefined
  if (keys === undefined) {
    const known = Object.keys(types).join('|')
    throw usageError(`Cannot use ${subject}: expected type=${known}, got "${type}"`)
  }
  return { subject, type, settings: settingsFrom(fields, ['type', ...keys], subject) }
}

/** Of which the flag must say where. */
export function placeOf(
  { subject, type, settings }: CacheFlag,
  { client, lookup }: CacheWorld,
  directoryKey: 'src' | 'dest',
): CachePlace {
  const needed = (key: string) => {
    const value = settings.get(key)
    if (value === undefined || value === '')
      throw usageError(`Cannot use ${subject}: it has no ${key}=`)
    return value
  }
  if (type === 'local') return layoutCache(layoutOf(needed(directoryKey), settings))
  if (type === 's3') return s3Place({ subject, settings }, lookup)
  const ref = needed('ref')
  return registryCache(
    client,
    parseAs(subject, () => parseReference(ref)),
  )
}

function layoutOf(directory: string, settings: CacheFlag['settings']): LayoutCache {
  const digest = settings.get('digest')
  return {
    directory,
    tag: settings.get('tag') ?? 'latest',
    reset: settings.get('reset') === 'true',
    ...(digest === undefined ? {} : { digest: parseAs('digest', () => parseDigest(digest)) }),
  }
}
