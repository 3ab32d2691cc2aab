/**
 * The keys that tokens are signed with: PEM files in a folder. The private key whose name sorts last
 * signs, all of them verify: a new key is added, and an old one removed once its tokens have expired.
 * A key's algorithm is a property of the key, so no token can choose another for it.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { calculateJwkThumbprint } from 'jose'
import { hasCode, OciError, printable } from '../../../oci/errors.ts'

export type TokenAlgorithm = 'EdDSA' | 'ES256' | 'RS256'

export interface VerifyingKey {
  readonly id: string
  readonly algorithm: TokenAlgorithm
  readonly publicKey: KeyObject
}

export interface TokenKeys {
  readonly signing: VerifyingKey & { readonly privateKey: KeyObject }
  readonly byId: ReadonlyMap<string, VerifyingKey>
}

/** Of this process alone: after it ends its tokens are worth nothing. */
export async function temporaryTokenKeys(): Promise<TokenKeys> {
  return keysFrom([{ name: 'temporary', pem: newKey() }])
}

/** Throws `invalid` with the file's name. An empty folder, or none, gets a key. */
export async function loadTokenKeys(folder: string): Promise<TokenKeys> {
  const files = await readKeys(folder)
  if (files.length > 0) return keysFrom(files)
  await createKey(folder)
  return keysFrom(await readKeys(folder))
}

interface KeyFile {
  readonly name: string
  readonly pem: string
}

async function readKeys(folder: string): Promise<KeyFile[]> {
  try {
    const names = (await readdir(folder)).filter(name => name.endsWith('.pem')).sort()
    return await Promise.all(
      names.map(async name => ({ name, pem: await readFile(join(folder, name), 'utf8') })),
    )
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Whole or not at all; of several servers that start at once, one's key is everybody's. */
async function createKey(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const draft = join(folder, `.key-${process.pid}.new`)
  await writeFile(draft, newKey(), { mode: 0o600, flush: true })
  try {
    await link(draft, join(folder, 'key-0001.pem'))
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  } finally {
    await rm(draft, { force: true })
  }
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519')
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

async function keysFrom(files: readonly KeyFile[]): Promise<TokenKeys> {
  const byId = new Map<string, VerifyingKey>()
  let signing: TokenKeys['signing'] | undefined
  for (const { name, pem } of files) {
    const { publicKey, privateKey } = readPem(name, pem)
    const algorithm = algorithmOf(name, publicKey)
    const id = await calculateJwkThumbprint(publicKey.export({ format: 'jwk' }))
    const key = { id, algorithm, publicKey }
    byId.set(id, key)
    if (privateKey !== undefined) signing = { ...key, privateKey }
  }
  if (signing === undefined) throw unusable('folder', 'no private key in it')
  return { signing, byId }
}

function readPem(name: string, pem: string) {
  try {
    const isPrivate = pem.includes('PRIVATE KEY-----')
    return isPrivate
      ? { privateKey: createPrivateKey(pem), publicKey: createPublicKey(pem) }
      : { privateKey: undefined, publicKey: createPublicKey(pem) }
  } catch {
    // Without cause: it might quote the key.
    throw unusable(name, 'expected a PEM file with a key and no passphrase')
  }
}

function algorithmOf(name: string, key: KeyObject): TokenAlgorithm {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA'
  if (key.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1') return 'ES256'
  if (key.asymmetricKeyType === 'rsa' && modulusLength >= 2048) return 'RS256'
  throw unusable(name, 'expected Ed25519, RSA of 2048 bits or more, or P-256')
}

function unusable(name: string, why: string): OciError {
  return new OciError('invalid', `Cannot use token key "${printable(name)}": ${why}`)
}
