/**
 * Login: credentials checked against a registry, and kept where docker keeps them.
 *
 * With a helper configured the secret goes there and `config.json` only gets an empty entry.
 * Otherwise it is base64, not encrypted, readable by its owner alone.
 */
import { mkdir, open, realpath, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { OciError } from '../../oci/errors.ts'
import type { Reference } from '../../oci/reference.ts'
import { helperKey, normalizeKey, parseAuthFile } from './auth-file.ts'
import { type RegistryClient, withCredentials } from './client.ts'
import { runCredentialHelper } from './credential-helper.ts'
import { readAuthFile } from './credential-lookup.ts'
import type { Credentials, Environment } from './credentials.ts'
import { sendPing } from './request.ts'
import { basicAuthorization } from './token.ts'

/** Where logins are kept: a `config.json`, and the environment that helpers run with. */
export interface LoginStore {
  readonly path: string
  readonly env: Environment
}

/**
 * Resolves when the registry accepts `credentials`. Throws `unauthenticated` or `denied` when it
 * does not, and what `sendRequest` throws. A registry that asks nobody accepts everybody.
 */
export async function verifyLogin(
  client: RegistryClient,
  registry: string,
  credentials: Credentials,
): Promise<void> {
  const asUser = withCredentials(client, async () => credentials)
  const asked = await sendPing(asUser, registry)
  if (asked.wasAuthorized) return
  // Where anonymous users may read, only credentials sent unasked are looked at.
  const authorization = basicAuthorization(credentials)
  if (authorization !== undefined) await sendPing(asUser, registry, { authorization })
}

/** Adds or replaces the login of `registry`. On failure the file is as it was. */
export async function saveCredentials(
  store: LoginStore,
  registry: Reference['registry'],
  credentials: Credentials,
): Promise<void> {
  const config = await readConfig(store.path)
  const helper = helperOf(config, registry)
  const key = helperKey(registry)
  if (helper !== undefined) {
    const { env } = store
    await runCredentialHelper(helper, { verb: 'store', registry: key, env, credentials })
  }
  const entry = helper === undefined ? entryOf(credentials) : {}
  const auths = { ...withoutRegistry(config.auths, registry), [key]: entry }
  await writeConfig(store.path, config, { ...config.members, auths })
}

/** Forgets the login of `registry`; whether there was one. On failure the file is as it was. */
export async function removeCredentials(store: LoginStore, registry: string): Promise<boolean> {
  const config = await readConfig(store.path)
  const helper = helperOf(config, registry)
  if (helper !== undefined) {
    const { env } = store
    await runCredentialHelper(helper, { verb: 'erase', registry: helperKey(registry), env })
  }
  const auths = withoutRegistry(config.auths, registry)
  const hadEntry = Object.keys(auths).length < Object.keys(config.auths).length
  if (hadEntry) await writeConfig(store.path, config, { ...config.members, auths })
  return hadEntry
}

interface Config {
  /** As found: what we do not know is written back. */
  readonly members: object
  readonly auths: Readonly<Record<string, unknown>>
  readonly file: ReturnType<typeof parseAuthFile>
  readonly indent: string
}

async function readConfig(path: string): Promise<Config> {
  const text = (await readAuthFile(path)) ?? '{}'
  const file = parseAuthFile(path, text)
  const members = JSON.parse(text) as { readonly auths?: unknown }
  const auths = { ...(members.auths ?? {}) }
  // Docker indents with tabs; whoever edits by hand may not.
  return { members, auths, file, indent: /\n([ \t]+)"/.exec(text)?.[1] ?? '\t' }
}

function helperOf({ file }: Config, registry: string): string | undefined {
  return (
    file.credHelpers.get(registry) ?? file.credHelpers.get(helperKey(registry)) ?? file.credsStore
  )
}

function withoutRegistry(
  auths: Readonly<Record<string, unknown>>,
  registry: string,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(auths).filter(([key]) => normalizeKey(key) !== registry))
}

function entryOf(credentials: Credentials): Record<string, string> {
  switch (credentials.kind) {
    case 'password': {
      const { username, password } = credentials
      // The first colon ends the name when it is read back.
      if (username === '' || username.includes(':')) {
        throw new OciError('invalid', 'Cannot save the login: the user name is empty or has a ":"')
      }
      return { auth: Buffer.from(`${username}:${password}`).toString('base64') }
    }
    case 'identity-token': {
      const user = Buffer.from(`${credentials.username ?? '<token>'}:`).toString('base64')
      return { auth: user, identitytoken: credentials.token }
    }
    case 'registry-token':
      return { registrytoken: credentials.token }
  }
}

async function writeConfig(path: string, { indent }: Config, members: object): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  // A link to the real file (dotfiles, mounted secrets) stays a link.
  const target = await realpath(path).catch(() => path)
  const temporary = `${target}.${process.pid}.tmp`
  try {
    await writeSynced(temporary, `${JSON.stringify(members, undefined, indent)}\n`)
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** Made anew, never through a link that waits under the name, and private from the first byte. */
async function writeSynced(path: string, text: string): Promise<void> {
  await rm(path, { force: true })
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}
