/**
 * Tokens of others: identity tokens of CI systems and clusters (OpenID Connect), and tokens of a
 * token server as distribution's. Which issuers are believed, for which audience and with which
 * algorithms is configured; of a token nothing is believed before it is verified.
 */
import { readFile } from 'node:fs/promises'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import { OciError } from '../../../oci/errors.ts'
import { matchesGlob } from '../../storage/glob.ts'
import { fetchDocument, isSafeFrom } from './fetch-document.ts'
import type { Identity } from './identity.ts'
import { resourcesFrom } from './registry-token.ts'
import type { Resource } from './scope.ts'

export interface IssuerOptions {
  /** What policies call it: `github` in `github:repo:acme/app`. */
  readonly id: string
  /** The exact claim `iss`. */
  readonly issuer: string
  readonly audience: string
  readonly keys:
    | { readonly kind: 'file'; readonly path: string }
    /** `discovery`: of the document that names the keys' address. */
    | { readonly kind: 'url' | 'discovery'; readonly url: URL }
  readonly algorithms: readonly string[]
  /** The claim that names who it is. */
  readonly subject: string
  /** Claims whose values become groups: `github:repository_owner:acme`. */
  readonly groups: readonly string[]
  /** Patterns of values that claims must have. */
  readonly require: ReadonlyMap<string, string>
}

export interface ExternalToken {
  readonly identity: Identity
  /** Absent for an identity token, which limits nothing. */
  readonly resources?: readonly Resource[]
  readonly expiresAt: number
}

export interface Issuers {
  /** `undefined` for a token that is not a good one. Throws `unavailable` without its issuer's keys. */
  verify(token: string): Promise<ExternalToken | undefined>
}

interface Issuer {
  readonly options: IssuerOptions
  readonly key: JWTVerifyGetKey
}

export interface KeyTimes {
  /** After which keys are asked for again. */
  readonly cacheMs: number
  /** For how long they are asked for once at most, whatever tokens name. */
  readonly cooldownMs: number
  /** For how long the last ones are believed while none can be had. */
  readonly staleMs: number
}

const keyTimes: KeyTimes = { cacheMs: 10 * 60_000, cooldownMs: 30_000, staleMs: 60 * 60_000 }

/** Throws `invalid` for a file of keys that cannot be used. */
export async function openIssuers(
  all: readonly IssuerOptions[],
  times: KeyTimes = keyTimes,
): Promise<Issuers> {
  const issuers = await Promise.all(
    all.map(async options => ({ options, key: await keySource(options, times) })),
  )
  return {
    verify: async token => {
      const issuer = issuers.find(({ options }) => options.issuer === claimedIssuer(token))
      return issuer === undefined ? undefined : verifyWith(issuer, token)
    },
  }
}

function claimedIssuer(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).kid === undefined ? undefined : decodeJwt(token).iss
  } catch {
    return undefined
  }
}

async function verifyWith(
  { options, key }: Issuer,
  token: string,
): Promise<ExternalToken | undefined> {
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [...options.algorithms],
      issuer: options.issuer,
      audience: options.audience,
      requiredClaims: ['exp', 'iat'],
      clockTolerance: 30,
    })
    return externalFrom(options, payload)
  } catch (error) {
    if (error instanceof errors.JOSEError && !areKeysMissing(error)) return undefined
    throw new OciError('unavailable', `Cannot verify a token: no keys of issuer "${options.id}"`, {
      cause: error,
    })
  }
}

/** Failures of the keys' address, not of the token. */
function areKeysMissing({ code }: errors.JOSEError): boolean {
  return ['ERR_JWKS_TIMEOUT', 'ERR_JOSE_GENERIC', 'ERR_JWKS_INVALID'].includes(code)
}

function externalFrom(options: IssuerOptions, claims: JWTPayload): ExternalToken | undefined {
  const [name] = valuesOf(claims, options.subject)
  if (name === undefined || name === '') return undefined
  for (const [claim, pattern] of options.require) {
    if (!valuesOf(claims, claim).some(value => matchesGlob(pattern, value))) return undefined
  }
  const hasAccess = claims['access'] !== undefined
  const resources = hasAccess ? resourcesFrom(claims['access']) : undefined
  if (hasAccess && resources === undefined) return undefined
  const groups = options.groups.flatMap(claim =>
    valuesOf(claims, claim).map(value => `${options.id}:${claim}:${value}`),
  )
  return {
    identity: { kind: 'external', name: `${options.id}:${name}`, groups },
    expiresAt: (claims.exp ?? 0) * 1000,
    ...(resources === undefined ? {} : { resources }),
  }
}

/** A claim's text, or texts of a list. A name that is no claim is a path: `kubernetes.io/namespace`. */
function valuesOf(claims: JWTPayload, name: string): string[] {
  let value: unknown = own(claims, name)
  if (value === undefined) {
    value = name.split('/').reduce<unknown>((inner, part) => own(inner, part), claims)
  }
  const values = Array.isArray(value) ? (value as unknown[]) : [value]
  return values.flatMap(item =>
    ['string', 'number', 'boolean'].includes(typeof item) ? [String(item)] : [],
  )
}

function own(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}

async function keySource(
  { id, issuer, keys }: IssuerOptions,
  times: KeyTimes,
): Promise<JWTVerifyGetKey> {
  switch (keys.kind) {
    case 'file':
      return fileKeys(id, keys.path)
    case 'url':
      return remoteKeys(keys.url, times)
    case 'discovery':
      return discoveredKeys(issuer, keys.url, times)
  }
}

async function fileKeys(id: string, path: string): Promise<JWTVerifyGetKey> {
  try {
    return createLocalJWKSet(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    throw new OciError(
      'invalid',
      `Cannot use the keys of issuer "${id}": expected JWKS "${path}"`,
      {
        cause,
      },
    )
  }
}

/**
 * Asked again when they are old or a token names another key, once at a time and not too often. While
 * they cannot be had, those that were had last count: an issuer that restarts stops nobody's builds.
 */
function remoteKeys(url: URL, { cacheMs, cooldownMs, staleMs }: KeyTimes): JWTVerifyGetKey {
  let last: { readonly text: string; readonly at: number } | undefined
  let isStale = false
  const ask = async (address: string): Promise<string> => {
    try {
      const text = await fetchDocument(new URL(address))
      last = { text, at: Date.now() }
      isStale = false
      return text
    } catch (error) {
      if (last === undefined || Date.now() - last.at > staleMs) throw error
      isStale = true
      return last.text
    }
  }
  const keys = createRemoteJWKSet(url, {
    cacheMaxAge: cacheMs,
    cooldownDuration: cooldownMs,
    [customFetch]: async address => new Response(await ask(address)),
  })
  return async (header, token) => {
    try {
      return await keys(header, token)
    } catch (error) {
      // It may be one of the keys that cannot be had.
      const isUnknown = error instanceof errors.JWKSNoMatchingKey && isStale
      throw isUnknown ? new Error(`The keys at ${url.origin} cannot be had`) : error
    }
  }
}

function discoveredKeys(issuer: string, url: URL, times: KeyTimes): JWTVerifyGetKey {
  let found: Promise<JWTVerifyGetKey> | undefined
  const discover = async () => {
    const { issuer: said, jwks_uri: address } = JSON.parse(await fetchDocument(url))
    if (said !== issuer || !URL.canParse(address) || !isSafeFrom(url, new URL(address))) {
      throw new Error(`The document at ${url} is not that of issuer ${issuer}`)
    }
    return remoteKeys(new URL(address), times)
  }
  return async (header, token) => {
    found ??= discover()
    found.catch(() => {
      found = undefined
    })
    return (await found)(header, token)
  }
}
