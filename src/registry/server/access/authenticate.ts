/** From what a client sends to who it is; nothing here says what it may. */
import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Client } from './access.ts'
import type { Account } from './account.ts'
import type { Accounts } from './accounts.ts'
import { isTokenLike, parseAuthorization } from './authorization.ts'
import { identityOfCertificate } from './certificate.ts'
import type { Htpasswd } from './htpasswd.ts'
import { anonymous } from './identity.ts'
import type { Issuers } from './issuers.ts'
import { type TokenIssuer, verifyToken } from './registry-token.ts'
import { scopeOf, type TokenScope } from './scope.ts'

export interface Authenticated {
  readonly account: Account
  readonly scope?: TokenScope | undefined
  /** The end of the token, in milliseconds since 1970; absent: of none. */
  readonly expiresAt?: number
}

export interface Authenticator {
  /** `undefined` for credentials that are wrong. Throws `unavailable` when that cannot be known now. */
  authenticate(client: Client): Promise<Authenticated | undefined>
}

export interface AuthenticatorSources {
  readonly users: () => Htpasswd
  readonly accounts: Accounts
  readonly tokens: TokenIssuer
  readonly issuers: () => Issuers
}

/** A token that was verified, until it ends; with its keys it is forgotten. */
interface Verified {
  readonly proof: Authenticated & { readonly expiresAt: number }
  readonly validFor: readonly [issuers: unknown, keys: unknown]
}

export function createAuthenticator(sources: AuthenticatorSources): Authenticator {
  const { accounts, tokens, issuers } = sources
  const verified = new LRUCache<string, Verified>({ max: 10_000 })

  async function byToken(token: string): Promise<Authenticated | undefined> {
    if (!isTokenLike(token)) return undefined
    const key = hash('sha256', token, 'base64')
    const validFor = [issuers(), tokens.keys()] as const
    const known = verified.get(key)
    const isKnown =
      known?.validFor.every((part, i) => part === validFor[i]) === true &&
      known.proof.expiresAt > tokens.now().getTime()
    if (isKnown) return renewed(known.proof)
    const proof = await verify(token)
    if (proof === undefined) return undefined
    verified.set(key, { proof, validFor })
    return renewed(proof)
  }

  async function verify(token: string): Promise<Verified['proof'] | undefined> {
    const own = await verifyToken(tokens, 'access', token)
    if (own !== undefined) {
      const { account, resources, expiresAt } = own
      return { account, scope: scopeOf(resources), expiresAt }
    }
    const external = await issuers().verify(token)
    if (external === undefined) return undefined
    const { identity, resources, expiresAt } = external
    return { account: { identity }, scope: resources && scopeOf(resources), expiresAt }
  }

  /** A user who is gone, or has another password, is gone for their tokens too. */
  async function renewed(proof: Authenticated): Promise<Authenticated | undefined> {
    const account = await accounts.renew(proof.account)
    return account === undefined ? undefined : { ...proof, account }
  }

  return {
    authenticate: async ({ header, remote, certificate }) => {
      const credentials = parseAuthorization(header('authorization'))
      switch (credentials.kind) {
        case 'none': {
          const identity = certificate && identityOfCertificate(certificate)
          return { account: { identity: identity ?? anonymous } }
        }
        case 'password': {
          const { user, password } = credentials
          // An identity token where a client can send nothing but a name and a password.
          if (isTokenLike(password)) return byToken(password)
          const account = await accounts.logIn({ user, password, remote })
          return account && { account }
        }
        case 'token':
          return byToken(credentials.token)
        case 'unreadable':
          return undefined
      }
    },
  }
}
