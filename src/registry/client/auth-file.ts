/**
 * AuthFile: the parts of docker's `config.json` and podman's `auth.json` that say who we are.
 *
 *   {"auths": {"host/path": {"auth": base64("user:password"), "identitytoken"?, "registrytoken"?}},
 *    "credHelpers": {"host": "name"}, "credsStore": "name"}
 *
 * Keys of `auths` come as `host`, `host/path`, `https://host` and `https://host/v1/`; Docker Hub's
 * is `https://index.docker.io/v1/`.
 */
import { OciError } from '../../oci/errors.ts'
import {
  asString,
  asStringMap,
  type JsonNode,
  member,
  optional,
  parseJson,
} from '../../oci/json.ts'
import { defaultRegistry } from '../../oci/reference.ts'
import type { Credentials } from './credentials.ts'

export interface AuthFile {
  /** By normalized key: `host` or `host/path`. */
  readonly auths: ReadonlyMap<string, Credentials>
  readonly credHelpers: ReadonlyMap<string, string>
  readonly credsStore: string | undefined
}

/** What docker calls Docker Hub in its files and to its helpers. */
const dockerHubKey = 'https://index.docker.io/v1/'

/** The key under which docker files a registry, and which its helpers are asked for. */
export function helperKey(registry: string): string {
  return registry === defaultRegistry ? dockerHubKey : registry
}

/** Throws `invalid` with `name` and the JSON path; never quotes a value. */
export function parseAuthFile(name: string, text: string): AuthFile {
  const node = parseSecretJson(name, text)
  secretObject(node)
  const auths = optional(member(node, 'auths'), authsFrom) ?? new Map()
  const helpers = optional(member(node, 'credHelpers'), asStringMap) ?? {}
  const credsStore = optional(member(node, 'credsStore'), asString)
  return {
    auths,
    credHelpers: new Map(Object.entries(helpers)),
    credsStore: credsStore === '' ? undefined : credsStore,
  }
}

function parseSecretJson(name: string, text: string): JsonNode {
  try {
    return parseJson(name, new TextEncoder().encode(text))
  } catch {
    // Without cause: the parser's own message quotes the text around the mistake.
    throw new OciError('invalid', `Cannot parse ${name}: not valid JSON`)
  }
}

function authsFrom(node: JsonNode): Map<string, Credentials> {
  const auths = new Map<string, Credentials>()
  for (const key of Object.keys(secretObject(node))) {
    const credentials = optional(member(node, key), entryFrom)
    if (credentials !== undefined) auths.set(normalizeKey(key), credentials)
  }
  return auths
}

/** An empty entry says that a helper has the secret. */
function entryFrom(node: JsonNode): Credentials | undefined {
  secretObject(node)
  const text = (key: string) => secretMember(node, key)
  const identity = text('identitytoken')
  const auth = text('auth')
  const pair = auth === '' ? undefined : decodePair(node, auth)
  const username = pair?.username ?? text('username')
  if (identity !== '') {
    return { kind: 'identity-token', token: identity, ...(username === '' ? {} : { username }) }
  }
  const token = text('registrytoken')
  if (token !== '') return { kind: 'registry-token', token }
  const password = pair?.password ?? text('password')
  return username === '' ? undefined : { kind: 'password', username, password }
}

/** As `asObject`, but its error does not show the value. */
function secretObject(node: JsonNode): object {
  const { value } = node
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw malformedEntry(node, 'expected an object')
}

/** As `asString`, but its error does not show the value. */
function secretMember(node: JsonNode, key: string): string {
  const { value } = member(node, key)
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw malformedEntry(node, `${key} is no string`)
  return value
}

function decodePair(node: JsonNode, auth: string) {
  const text = Buffer.from(auth, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon <= 0) throw malformedEntry(node, 'auth is not base64 of "user:password"')
  return {
    username: text.slice(0, colon),
    // Docker pads what it decodes with NULs.
    password: text.slice(colon + 1).replace(/\0+$/, ''),
  }
}

function malformedEntry(node: JsonNode, reason: string): OciError {
  return new OciError(
    'invalid',
    `Cannot parse ${node.document}: ${node.path === '' ? '' : `${node.path}: `}${reason}`,
  )
}

/** `host` or `host/path`: what a key of `auths` is for. */
export function normalizeKey(key: string): string {
  const path = key.replace(/^https?:\/\//, '').replace(/\/(v[12]\/?)?$/, '')
  const slash = path.indexOf('/')
  const host = slash === -1 ? path : path.slice(0, slash)
  const rest = slash === -1 ? '' : path.slice(slash)
  const isDockerHub = host === 'index.docker.io' || host === 'registry-1.docker.io'
  return `${isDockerHub ? defaultRegistry : host}${rest}`
}

/** The entry of the longest key that is `registry/repository` or a whole part of its path. */
export function findAuth(
  file: AuthFile,
  registry: string,
  repository?: string,
): Credentials | undefined {
  let key = repository === undefined ? registry : `${registry}/${repository}`
  for (;;) {
    const found = file.auths.get(key)
    if (found !== undefined || key.length <= registry.length) return found
    key = key.slice(0, key.lastIndexOf('/'))
  }
}
