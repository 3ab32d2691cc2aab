/**
 * The tokens that this registry issues and takes: JWTs, signed by a key of ours.
 *
 * 1. The key is found by `kid` among ours and brings its algorithm along; what else the header says of
 *    keys (`jwk`, `jku`, `x5c`, `x5u`) is not looked at.
 * 2. A token for refreshing has another type and audience, and is no access token.
 * 3. What a token grants is bounded by what the policy grants now, and it ends with the password or
 *    robot key that it was issued for.
 * Spec: RFC 7519, RFC 8725; distribution, token specification.
 */
import { randomUUID } from 'node:crypto'
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { Account } from './account.ts'
import type { Identity } from './identity.ts'
import type { Resource } from './scope.ts'
import type { TokenKeys } from './token-keys.ts'

export interface TokenIssuer {
  readonly keys: () => TokenKeys
  readonly realm: string
  readonly now: () => Date
}

export interface IssuedToken {
  readonly account: Account
  readonly resources: readonly Resource[]
  readonly expiresAt: number
}

export const lifetimeSeconds = { access: 300, refresh: 30 * 86_400 }

export type TokenKind = keyof typeof lifetimeSeconds

export async function signToken(
  { keys, realm, now }: TokenIssuer,
  kind: TokenKind,
  { account, resources }: Omit<IssuedToken, 'expiresAt'>,
): Promise<string> {
  const { id, algorithm, privateKey } = keys().signing
  const { identity, stamp } = account
  const seconds = Math.floor(now().getTime() / 1000)
  const claims = {
    kind: identity.kind,
    groups: identity.groups,
    ...(stamp === undefined ? {} : { stamp }),
    ...(kind === 'access' ? { access: resources } : {}),
  }
  return new SignJWT(claims)
    .setProtectedHeader({ alg: algorithm, kid: id, typ: typeOf(kind) })
    .setIssuer(realm)
    .setAudience(audienceOf(kind, realm))
    .setSubject(identity.name)
    .setIssuedAt(seconds)
    .setNotBefore(seconds)
    .setExpirationTime(seconds + lifetimeSeconds[kind])
    .setJti(randomUUID())
    .sign(privateKey)
}

/** `undefined` for every token that is not a good one of ours. */
export async function verifyToken(
  { keys, realm, now }: TokenIssuer,
  kind: TokenKind,
  token: string,
): Promise<IssuedToken | undefined> {
  try {
    const { payload } = await jwtVerify(
      token,
      ({ kid, alg }) => {
        const key = kid === undefined ? undefined : keys().byId.get(kid)
        if (key === undefined || key.algorithm !== alg) throw new errors.JWKSNoMatchingKey()
        return key.publicKey
      },
      {
        algorithms: ['EdDSA', 'ES256', 'RS256'],
        issuer: realm,
        audience: audienceOf(kind, realm),
        typ: typeOf(kind),
        requiredClaims: ['sub', 'exp', 'nbf', 'iat'],
        clockTolerance,
        currentDate: now(),
      },
    )
    return issuedFrom(payload, kind)
  } catch (error) {
    if (error instanceof errors.JOSEError) return undefined
    throw error
  }
}

/** Between the clocks of two replicas. */
const clockTolerance = 15

function typeOf(kind: TokenKind): string {
  return kind === 'access' ? 'JWT' : 'refresh+jwt'
}

function audienceOf(kind: TokenKind, realm: string): string {
  return kind === 'access' ? realm : `${realm} refresh`
}

function issuedFrom(claims: JWTPayload, kind: TokenKind): IssuedToken | undefined {
  const { sub = '', exp = 0, groups, stamp } = claims
  const resources = kind === 'access' ? resourcesFrom(claims['access']) : []
  const identityKind = identityKinds.find(known => known === claims['kind'])
  if (resources === undefined || identityKind === undefined || !isTexts(groups)) return undefined
  return {
    account: {
      identity: { kind: identityKind, name: sub, groups },
      ...(typeof stamp === 'string' ? { stamp } : {}),
    },
    resources,
    expiresAt: exp * 1000,
  }
}

const identityKinds: readonly Identity['kind'][] = [
  'anonymous',
  'user',
  'robot',
  'certificate',
  'external',
]

/** The claim `access`; `undefined` when it is anything else than a list of resources. */
export function resourcesFrom(value: unknown): Resource[] | undefined {
  if (!Array.isArray(value)) return undefined
  const resources: Resource[] = []
  for (const item of value as unknown[]) {
    const { type, name, actions } = (item ?? {}) as Record<string, unknown>
    if (typeof type !== 'string' || typeof name !== 'string' || !isTexts(actions)) return undefined
    resources.push({ type, name, actions })
  }
  return resources
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}
