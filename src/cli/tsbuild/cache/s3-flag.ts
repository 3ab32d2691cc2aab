/** `type=s3` of `--cache-from` and `--cache-to`, with BuildKit's settings. */
import { availableParallelism } from 'node:os'
import type { CachePlace } from '../../../builder/cache/cache-place.ts'
import { s3Cache } from '../../../builder/cache/s3-cache.ts'
import { field } from '../../../oci/json.ts'
import {
  namesRole,
  parseS3Address,
  type S3Credentials,
} from '../../../registry/storage/s3/s3-options.ts'
import { usageError } from '../../cli-error.ts'
import { parseAs, parseBoolean, parseInteger } from '../../flags/flag-values.ts'
import type { EnvironmentLookup } from '../../flags/flags.ts'

export const s3Keys = [
  'bucket',
  'region',
  'endpoint_url',
  'use_path_style',
  'access_key_id',
  'secret_access_key',
  'session_token',
  'prefix',
  'blobs_prefix',
  'manifests_prefix',
  'name',
  'upload_parallelism',
] as const

export interface S3Flag {
  readonly subject: string
  readonly settings: ReadonlyMap<string, string>
}

/** What is not said comes from the variables that Amazon's own programs read. Throws a usage error. */
export function s3Place({ subject, settings }: S3Flag, lookup: EnvironmentLookup): CachePlace {
  const bucket = settings.get('bucket') ?? lookup('AWS_BUCKET')
  if (bucket === undefined) throw usageError(`Cannot use ${subject}: it has no bucket=`)
  const names = (settings.get('name') ?? 'buildkit').split(';')
  const parts = [
    ...names,
    prefixOf(settings, 'blobs_prefix'),
    prefixOf(settings, 'manifests_prefix'),
  ]
  const bad = parts.find(part => !/^(?:[A-Za-z0-9_][A-Za-z0-9._-]*\/?)+$/.test(part))
  if (bad !== undefined) {
    throw usageError(
      `Cannot use ${subject}: expected letters, digits and "._-" between slashes, got "${bad}"`,
    )
  }
  const parallelism = settings.get('upload_parallelism')
  return s3Cache(addressOf({ subject, settings }, { bucket, lookup }), {
    names,
    blobsPrefix: prefixOf(settings, 'blobs_prefix'),
    manifestsPrefix: prefixOf(settings, 'manifests_prefix'),
    parallelism:
      parallelism === undefined
        ? Math.min(availableParallelism(), 4)
        : Math.max(
            1,
            parseAs(subject, () => parseInteger(parallelism)),
          ),
  })
}

function prefixOf(settings: S3Flag['settings'], key: 'blobs_prefix' | 'manifests_prefix'): string {
  return settings.get(key) ?? key.replace('_prefix', '/')
}

interface Bucket {
  readonly bucket: string
  readonly lookup: EnvironmentLookup
}

function addressOf({ subject, settings }: S3Flag, { bucket, lookup }: Bucket) {
  const query = new URLSearchParams()
  const region = settings.get('region') ?? lookup('AWS_REGION') ?? lookup('AWS_DEFAULT_REGION')
  const endpoint = settings.get('endpoint_url') ?? lookup('AWS_ENDPOINT_URL')
  const pathStyle = settings.get('use_path_style')
  if (region !== undefined) query.set('region', region)
  if (endpoint !== undefined) query.set('endpoint', endpoint)
  if (pathStyle !== undefined) {
    query.set('path-style', `${parseAs(subject, () => parseBoolean(pathStyle))}`)
  }
  const prefix = settings.get('prefix') ?? ''
  const credentials = credentialsOf(settings, lookup)
  return parseAs(subject, () =>
    parseS3Address(`s3://${bucket}/${prefix}?${query}`, {
      ...field('credentials', credentials),
      hasRole: namesRole(lookup),
    }),
  )
}

/** `undefined`: those of the machine's role. */
function credentialsOf(
  settings: S3Flag['settings'],
  lookup: EnvironmentLookup,
): S3Credentials | undefined {
  const accessKeyId = settings.get('access_key_id') ?? lookup('AWS_ACCESS_KEY_ID')
  const secretAccessKey = settings.get('secret_access_key') ?? lookup('AWS_SECRET_ACCESS_KEY')
  const sessionToken = settings.get('session_token') ?? lookup('AWS_SESSION_TOKEN')
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined
  return { accessKeyId, secretAccessKey, ...field('sessionToken', sessionToken) }
}
