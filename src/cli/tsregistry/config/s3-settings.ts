/** `storage.s3` of `config.yml`, as the place that `--storage s3://…` names. */
import { OciError } from '../../../oci/errors.ts'
import { parseS3Address } from '../../../registry/storage/s3/s3-options.ts'
import type { Environment } from '../../environment.ts'
import { type StoragePlace, s3Defaults } from '../storage-place.ts'

/** Throws `invalid`. What is not set comes from the variables of Amazon's own programs. */
export function s3PlaceFrom(
  settingOf: (path: string) => unknown,
  environment: Environment,
): StoragePlace {
  const text = (name: string) => settingOf(`storage.s3.${name}`)?.toString()
  const bucket = text('bucket')
  if (bucket === undefined)
    throw new OciError('invalid', 'Cannot store: storage.s3.bucket is missing')
  const options = new URLSearchParams()
  const set = (name: string, value: string | undefined) => {
    if (value !== undefined) options.set(name, value)
  }
  set('region', text('region'))
  set('endpoint', endpointFrom(text('regionendpoint'), settingOf('storage.s3.secure') !== false))
  set('path-style', text('forcepathstyle'))
  set('part-size', text('chunksize'))
  const prefix = (text('rootdirectory') ?? '').replace(/^\/+/, '')
  const defaults = { ...s3Defaults(environment), ...credentialsFrom(text) }
  return { kind: 's3', options: parseS3Address(`s3://${bucket}/${prefix}?${options}`, defaults) }
}

function endpointFrom(text: string | undefined, isSecure: boolean): string | undefined {
  if (text === undefined || text.includes('://')) return text
  return `${isSecure ? 'https' : 'http'}://${text}`
}

function credentialsFrom(text: (name: string) => string | undefined) {
  const accessKeyId = text('accesskey')
  const secretAccessKey = text('secretkey')
  const sessionToken = text('sessiontoken')
  if (accessKeyId === undefined && secretAccessKey === undefined) return {}
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new OciError('invalid', 'Cannot store: expected storage.s3.accesskey with secretkey')
  }
  return {
    credentials: {
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
    },
  }
}
