/** `proxy`, `tsregistry.upstreams` and `--upstream`, as registries to pull through. */
import { readFile } from 'node:fs/promises'
import { OciError, printable } from '../../../oci/errors.ts'
import { field } from '../../../oci/json.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'
import { runHelperProgram } from '../../../registry/client/credential-helper.ts'
import type { Credentials } from '../../../registry/client/credentials.ts'
import { isLoopback } from '../../../registry/client/endpoint.ts'
import type { UpstreamSettings } from '../../../registry/server/upstream/upstream.ts'
import type { Variables } from '../../environment.ts'
import { parseAs } from '../../flags/flag-values.ts'
import type { Setting } from './read-config.ts'

const hourMs = 3600_000

/** Of keys that `proxy` does not have, also what it is without them. */
const defaults = { ttl: 168 * hourMs, tagttl: 60_000, missttl: 30_000 }

type Values = ReadonlyMap<string, Setting>

/** Flags win over settings of the same prefix. Throws `invalid`, and usage errors. */
export function upstreamsFrom(
  settings: readonly Setting[],
  flags: readonly string[],
  variables: Variables,
): readonly UpstreamSettings[] {
  const found = new Map<string, UpstreamSettings>()
  for (const [name, values] of sectionsOf(settings)) {
    const { prefix, where } = prefixFrom(name, values)
    if (found.has(prefix)) {
      throw mistake(where, 'proxy.remoteurl and tsregistry.upstreams."*" are the same: give one')
    }
    found.set(prefix, upstreamFrom(prefix, values, variables))
  }
  for (const flag of flags) {
    const upstream = parseAs('flag --upstream', () => upstreamFromFlag(flag))
    found.set(upstream.prefix, upstream)
  }
  return [...found.values()]
}

/** By the name that the user chose; `proxy` has none. */
function sectionsOf(settings: readonly Setting[]): ReadonlyMap<string | undefined, Values> {
  const sections = new Map<string | undefined, Map<string, Setting>>()
  for (const setting of settings) {
    const [, key] = /^(?:proxy|tsregistry\.upstreams\.\*)\.(.+)$/.exec(setting.key.path) ?? []
    if (key === undefined) continue
    const section = sections.get(setting.name) ?? new Map<string, Setting>()
    section.set(key === 'remoteurl' ? 'url' : key, setting)
    sections.set(setting.name, section)
  }
  return sections
}

function prefixFrom(name: string | undefined, values: Values) {
  const where = [...values.values()][0]?.where ?? ''
  if (name === undefined || name === '*') return { prefix: '', where }
  return { prefix: at(where, () => parseRepositoryName(name)), where }
}

function upstreamFrom(prefix: string, values: Values, variables: Variables): UpstreamSettings {
  const textOf = (name: string) => values.get(name)?.value as string | undefined
  const msOf = (name: keyof typeof defaults) =>
    (values.get(name)?.value as number | undefined) ?? defaults[name]
  const { where = '' } = values.get('url') ?? [...values.values()][0] ?? {}
  const text = textOf('url')
  if (text === undefined || text === '') {
    const path = values.has('url') || prefix !== '' ? 'url' : 'proxy.remoteurl'
    throw mistake(where, `${path}: missing: where the registry is`)
  }
  const url = at(where, () => parseUrl(text))
  return {
    prefix,
    url,
    ...field('credentials', credentialsFrom(values, { url, variables })),
    ...field('tokenServer', textOf('tokenserver')),
    redirectHosts: (values.get('redirecthosts')?.value as readonly string[] | undefined) ?? [],
    tagTtlMs: msOf('tagttl'),
    missTtlMs: msOf('missttl'),
    keepMs: msOf('ttl') || Number.POSITIVE_INFINITY,
  }
}

/** `docker.io`, `hub=docker.io`, `*=https://mirror.example/hub`. */
function upstreamFromFlag(text: string): UpstreamSettings {
  const equals = text.indexOf('=')
  const name = equals === -1 ? text : text.slice(0, equals)
  return {
    prefix: name === '*' ? '' : parseRepositoryName(name),
    url: parseUrl(text.slice(equals + 1)),
    redirectHosts: [],
    tagTtlMs: defaults.tagttl,
    missTtlMs: defaults.missttl,
    keepMs: defaults.ttl,
  }
}

/** Without a scheme it is https, and http for this machine. */
function parseUrl(text: string): URL {
  const host = text.split('/', 1)[0] ?? ''
  const full = text.includes('://') ? text : `${isLoopback(host) ? 'http' : 'https'}://${text}`
  const url = URL.canParse(full) ? new URL(full) : undefined
  const isPlain =
    url !== undefined && `${url.username}${url.password}${url.search}${url.hash}` === ''
  if (isPlain && ['http:', 'https:'].includes(url.protocol)) return url
  // Not quoted where it may hold a password.
  const shown = url?.username === '' ? `, got "${printable(text, 80)}"` : ''
  throw new OciError('invalid', `expected the address of a registry, such as https://HOST${shown}`)
}

type Provider = () => Promise<Credentials>

function credentialsFrom(
  values: Values,
  { url, variables }: { readonly url: URL; readonly variables: Variables },
): Provider | undefined {
  const textOf = (name: string) => values.get(name)?.value as string | undefined
  const [username, password] = [textOf('username'), textOf('password')]
  const file = textOf('passwordfile')
  const command = textOf('exec.command')
  const { where = '' } = values.get('username') ?? values.get('exec.command') ?? {}
  const given = [password, file].filter(text => text !== undefined).length
  if (command !== undefined) {
    if (username !== undefined || given > 0) {
      throw mistake(where, 'exec.command and a password are both there: give one')
    }
    const lifetimeMs = values.get('exec.lifetime')?.value as number | undefined
    return helperProvider({ command, lifetimeMs, registry: url.href, variables })
  }
  // Distribution's samples have both, empty.
  if (!username && !password && file === undefined) return undefined
  if (username === undefined || given !== 1) {
    throw mistake(where, 'expected username with a password, and one alone')
  }
  if (file === undefined) {
    const credentials = { kind: 'password', username, password: password ?? '' } as const
    return async () => credentials
  }
  return async () => ({ kind: 'password', username, password: await readSecret(file) })
}

async function readSecret(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '')
  } catch (cause) {
    throw new OciError('unavailable', `Cannot read the password: ${(cause as Error).message}`, {
      cause,
    })
  }
}

interface Helper {
  readonly command: string
  readonly lifetimeMs: number | undefined
  readonly registry: string
  readonly variables: Variables
}

function helperProvider({ command, lifetimeMs, registry, variables }: Helper): Provider {
  let known: { readonly at: number; readonly credentials: Promise<Credentials> } | undefined
  const ask = async () => {
    const call = { verb: 'get', registry, env: variables } as const
    const credentials = await runHelperProgram(command, call)
    if (credentials !== undefined) return credentials
    throw new OciError(
      'unavailable',
      `Cannot log in to "${registry}": "${command}" knows no credentials`,
    )
  }
  return () => {
    const isGood =
      known !== undefined && Date.now() - known.at < (lifetimeMs ?? Number.POSITIVE_INFINITY)
    if (known !== undefined && isGood) return known.credentials
    const credentials = ask()
    known = { at: Date.now(), credentials }
    credentials.catch(() => {
      known = undefined
    })
    return credentials
  }
}

function at<T>(where: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    throw mistake(where, error.message)
  }
}

function mistake(where: string, message: string): OciError {
  return new OciError('invalid', `Cannot use the configuration:\n${where}: ${message}`)
}
