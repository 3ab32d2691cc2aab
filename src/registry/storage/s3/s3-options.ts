/**
 * Which bucket to store in, and how it is reached: `s3://BUCKET[/PREFIX][?OPTION=VALUE&…]`.
 *
 * Every member but the bucket has a default, so whoever reads another form of configuration fills
 * the same object.
 */
import { OciError, printable } from '../../../oci/errors.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

export interface S3Options {
  readonly bucket: string
  /** Where in the bucket, without `/` at its ends; empty: all of it. */
  readonly prefix: string
  readonly region: string
  /** Absent: Amazon's. */
  readonly endpoint?: URL
  /** Where clients that are redirected reach the bucket, when not at `endpoint`. */
  readonly publicEndpoint?: URL
  /** `/bucket/key` instead of the bucket as a name below the host's. */
  readonly pathStyle: boolean
  /** Absent: those of the machine's role. */
  readonly credentials?: S3Credentials
  /** Whether the machine is asked for a role: at Amazon, else only where somebody says so. */
  readonly hasRole?: boolean
  /** Authorities that may vouch for the server besides the well-known ones: PEM. */
  readonly ca?: readonly Uint8Array[]
  /** Bytes of each part of a large blob. Absent: parts grow with the blob; R2 wants equal ones. */
  readonly partSize?: number
  /** Of all uploads together, for bytes that wait for their part to be full. */
  readonly memory: number
}

export interface S3Defaults {
  readonly region?: string | undefined
  readonly endpoint?: string | undefined
  readonly credentials?: S3Credentials | undefined
  /** Whether the environment names a role. */
  readonly hasRole?: boolean
  readonly ca?: readonly Uint8Array[] | undefined
}

/** Each says where the credentials of a role are. */
const roleVariables = [
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
  'AWS_CONTAINER_CREDENTIALS_FULL_URI',
]

/** Whether an environment names a role. */
export function namesRole(lookup: (name: string) => string | undefined): boolean {
  return roleVariables.some(name => lookup(name) !== undefined)
}

const minPartSize = 5 * 1024 * 1024

const known = [
  ...['region', 'endpoint', 'public-endpoint', 'path-style', 'part-size', 'memory', 'role'],
]

export const defaultMemory = 128 * 1024 * 1024

/** Throws `invalid`, naming the option. What the address does not say comes from `defaults`. */
export function parseS3Address(text: string, defaults: S3Defaults = {}): S3Options {
  const { bucket, prefix, options } = partsOf(text)
  const one = (name: string) => options.get(name) ?? undefined
  const endpoint = one('endpoint') ?? defaults.endpoint
  const publicEndpoint = one('public-endpoint')
  const { hasRole = false } = defaults
  const isAmazon = endpoint === undefined
  const partSize = one('part-size')
  return {
    bucket,
    prefix: prefixFrom(text, prefix),
    region: one('region') ?? defaults.region ?? 'us-east-1',
    ...(endpoint === undefined ? {} : { endpoint: endpointFrom(text, endpoint) }),
    ...(publicEndpoint === undefined ? {} : { publicEndpoint: endpointFrom(text, publicEndpoint) }),
    pathStyle: switchFrom(text, 'path-style', one('path-style') ?? (isAmazon ? 'no' : 'yes')),
    hasRole: switchFrom(text, 'role', one('role') ?? (isAmazon || hasRole ? 'yes' : 'no')),
    ...(defaults.credentials === undefined ? {} : { credentials: defaults.credentials }),
    ...(defaults.ca === undefined ? {} : { ca: defaults.ca }),
    ...(partSize === undefined ? {} : { partSize: sizeFrom(text, 'part-size', partSize) }),
    memory: sizeFrom(text, 'memory', one('memory') ?? `${defaultMemory}`),
  }
}

function partsOf(text: string) {
  const match = /^s3:\/\/([^/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(text)
  const [, bucket = '', prefix = '', query = ''] = match ?? []
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw refused(text, 'expected s3://BUCKET[/PREFIX][?OPTION=VALUE]')
  }
  const options = new URLSearchParams(query)
  for (const name of options.keys()) {
    if (!known.includes(name)) throw refused(text, `option "${name}" is not known`)
  }
  return { bucket, prefix, options }
}

/** As people name the place: without options, and without credentials. */
export function describeS3({ bucket, prefix }: S3Options): string {
  return `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`
}

function prefixFrom(text: string, prefix: string): string {
  const trimmed = prefix.replace(/\/+$/, '')
  const parts = trimmed.split('/')
  const isSafe = parts.every(part => /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(part))
  if (trimmed === '' || isSafe) return trimmed
  throw refused(text, 'expected letters, digits and "._-" between the slashes of the prefix')
}

function endpointFrom(text: string, endpoint: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  if (url !== undefined && isHttp && url.pathname === '/' && url.username === '') return url
  throw refused(text, `expected an endpoint such as https://host:9000, got "${endpoint}"`)
}

function switchFrom(text: string, name: string, value: string): boolean {
  if (value === 'yes' || value === 'true') return true
  if (value === 'no' || value === 'false') return false
  throw refused(text, `expected ${name}=yes or ${name}=no, got "${value}"`)
}

function sizeFrom(text: string, name: string, value: string): number {
  const [, count, unit = ''] = /^([0-9]{1,12})(|Ki|Mi|Gi)B?$/.exec(value) ?? []
  const size = Number(count) * 1024 ** ['', 'Ki', 'Mi', 'Gi'].indexOf(unit)
  if (size >= minPartSize) return size
  throw refused(text, `expected ${name} of at least 5MiB, got "${value}"`)
}

function refused(text: string, reason: string): OciError {
  const [address = ''] = text.split('?', 1)
  return new OciError('invalid', `Cannot use storage "${printable(address)}": ${printable(reason)}`)
}
