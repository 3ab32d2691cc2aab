/**
 * Credentials looked up where docker and podman keep them.
 *
 *   DOCKER_AUTH_CONFIG → then per file, config.json first, auth.json after:
 *   credHelpers[registry] → credsStore → auths (longest matching key)
 *
 * Keys match exactly or by whole path components: a looser match could send one registry's
 * password to another whose name contains it.
 */
import { readFile } from 'node:fs/promises'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { type AuthFile, findAuth, helperKey, parseAuthFile } from './auth-file.ts'
import { runCredentialHelper } from './credential-helper.ts'
import type { Credentials, CredentialsProvider, Environment } from './credentials.ts'

export interface CredentialSources {
  /** DOCKER_AUTH_CONFIG: the text of a config.json with `auths`. */
  readonly inline?: string
  /** Searched in order; missing ones are skipped. */
  readonly files: readonly string[]
  /** What credential helpers run with (PATH, HOME). */
  readonly env: Environment
}

/** Where an environment says that credentials are. */
export function credentialSources(env: Environment): CredentialSources {
  const { HOME, XDG_CONFIG_HOME, XDG_RUNTIME_DIR, REGISTRY_AUTH_FILE, DOCKER_AUTH_CONFIG } = env
  const config = XDG_CONFIG_HOME || `${HOME ?? '/root'}/.config`
  const containers = REGISTRY_AUTH_FILE
    ? [REGISTRY_AUTH_FILE]
    : [XDG_RUNTIME_DIR, config].filter(Boolean).map(base => `${base}/containers/auth.json`)
  return {
    ...(DOCKER_AUTH_CONFIG ? { inline: DOCKER_AUTH_CONFIG } : {}),
    files: [dockerConfigPath(env), ...containers],
    env,
  }
}

/** `config.json` of the docker client: what `login` writes. */
export function dockerConfigPath(env: Environment): string {
  const { DOCKER_CONFIG, HOME } = env
  return `${DOCKER_CONFIG || `${HOME ?? '/root'}/.docker`}/config.json`
}

/**
 * A provider that reads each file and asks each helper once. It throws `invalid` for a malformed
 * file, `unavailable` for a helper that fails. A `credsStore` that is not installed counts as
 * empty: images copied from a desktop often name one, and public images need no login.
 */
export function createCredentialsProvider(sources: CredentialSources): CredentialsProvider {
  const files = memoize(() => loadAuthFiles(sources))
  const answers = new Map<string, Promise<Credentials | undefined>>()
  const askOnce = (helper: string, registry: string, isOptional: boolean) => {
    const key = `${helper} ${registry}`
    const answer = answers.get(key) ?? askHelper(helper, registry, { isOptional, env: sources.env })
    answers.set(key, answer)
    return answer
  }
  return async (registry, repository) => {
    for (const file of await files()) {
      const found = await findInFile(file, { registry, repository, askOnce })
      if (found !== undefined) return found
    }
    return undefined
  }
}

interface Lookup {
  readonly registry: string
  readonly repository: string | undefined
  readonly askOnce: (
    helper: string,
    registry: string,
    isOptional: boolean,
  ) => Promise<Credentials | undefined>
}

async function findInFile(file: AuthFile, lookup: Lookup): Promise<Credentials | undefined> {
  const { registry, repository, askOnce } = lookup
  const own = file.credHelpers.get(registry) ?? file.credHelpers.get(helperKey(registry))
  const fromOwn = own === undefined ? undefined : await askOnce(own, registry, false)
  if (fromOwn !== undefined) return fromOwn
  const fromStore =
    file.credsStore === undefined ? undefined : await askOnce(file.credsStore, registry, true)
  return fromStore ?? findAuth(file, registry, repository)
}

async function askHelper(
  helper: string,
  registry: string,
  { isOptional, env }: { readonly isOptional: boolean; readonly env: Environment },
): Promise<Credentials | undefined> {
  try {
    return await runCredentialHelper(helper, { verb: 'get', registry: helperKey(registry), env })
  } catch (error) {
    if (isOptional && hasCode(error, 'not-found')) return undefined
    throw error
  }
}

async function loadAuthFiles({ inline, files }: CredentialSources): Promise<AuthFile[]> {
  const loaded = inline === undefined ? [] : [parseAuthFile('DOCKER_AUTH_CONFIG', inline)]
  for (const path of files) {
    const text = await readAuthFile(path)
    if (text !== undefined) loaded.push(parseAuthFile(path, text))
  }
  return loaded
}

/** `undefined` when there is none. */
export async function readAuthFile(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, 'utf8')
    return text.trim() === '' ? undefined : text
  } catch (cause) {
    if (hasCode(cause, 'ENOENT') || hasCode(cause, 'ENOTDIR')) return undefined
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unreadable'
    throw new OciError('denied', `Cannot read "${printable(path)}": ${reason}`, { cause })
  }
}

function memoize<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
