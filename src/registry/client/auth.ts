/**
 * Authenticator: which `Authorization` a request to a registry carries.
 *
 *   (nothing known) ──401──► challenge remembered ──► Basic, or a token per set of scopes
 *
 * 1. Nothing is sent before a registry has asked for it.
 * 2. Tokens are kept per repository and scopes, and shared by requests that run at the same time.
 * 3. A token that was refused or is about to expire is not used again.
 */
import { OciError, printable } from '../../oci/errors.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import type { Credentials, CredentialsProvider } from './credentials.ts'
import { basicAuthorization, fetchToken, realmOf, type Token } from './token.ts'
import type { HttpResponse, Transport } from './transport.ts'

/** What a request is about to touch. */
export interface AuthTarget {
  readonly registry: string
  readonly endpoint: URL
  /** `undefined` for the registry itself. */
  readonly repository?: string
  /** `repository:<name>:pull`; see {@link repositoryScope}. */
  readonly scopes: readonly string[]
}

export interface Authenticator {
  /** The header to send, as far as is known without asking. */
  authorization(target: AuthTarget): Promise<string | undefined>
  /**
   * The header that answers a 401 to a request that carried `refused`; `undefined` when there is
   * nothing better to send. Throws `unauthenticated` for a scheme we cannot speak, `invalid` for a
   * malformed challenge, and what the token server or the credentials provider throw.
   */
  answer(
    target: AuthTarget,
    response: HttpResponse,
    refused: string | undefined,
  ): Promise<string | undefined>
}

export interface AuthOptions {
  readonly transport: Transport
  readonly credentials: CredentialsProvider
  readonly now: () => Date
  /**
   * Whether the token server that a registry named may be sent credentials. Default: any may, as
   * users expect who log in somewhere by hand. Without credentials anyone is asked.
   */
  readonly mayLogInAt?: (realm: URL) => boolean
}

export type Access = 'pull' | 'push'

/** The scope of reading, or reading and writing, a repository. */
export function repositoryScope(repository: string, access: Access): string {
  return `repository:${repository}:${access === 'push' ? 'pull,push' : 'pull'}`
}

/** A token is renewed this long before it expires, for the time a request takes to arrive. */
const renewMs = 10_000

const maxTokens = 500

interface State {
  readonly options: AuthOptions
  readonly challenges: Map<string, Challenge>
  readonly tokens: Map<string, Promise<Token>>
}

export function createAuthenticator(options: AuthOptions): Authenticator {
  const state: State = { options, challenges: new Map(), tokens: new Map() }
  return {
    async authorization(target) {
      const challenge = state.challenges.get(target.registry)
      return challenge === undefined ? undefined : headerFor(state, target, challenge)
    },
    async answer(target, response, refused) {
      const challenge = chooseChallenge(target, response)
      if (challenge === undefined) return undefined
      state.challenges.set(target.registry, challenge)
      await forgetToken(state, refused)
      const header = await headerFor(state, withScopes(target, challenge), challenge)
      return header === refused ? undefined : header
    },
  }
}

/** Bearer before Basic: only it can say which repository is meant. */
function chooseChallenge(target: AuthTarget, response: HttpResponse): Challenge | undefined {
  const challenges = response.headerList('www-authenticate').flatMap(parseChallenges)
  const chosen =
    challenges.find(({ scheme }) => scheme === 'bearer') ??
    challenges.find(({ scheme }) => scheme === 'basic')
  if (chosen === undefined && challenges.length > 0) {
    const offered = challenges.map(({ scheme }) => scheme).join(', ')
    throw new OciError(
      'unauthenticated',
      `Cannot log in to "${target.registry}": it asks for ${printable(offered)}, expected Bearer or Basic`,
    )
  }
  return chosen
}

/** The registry knows best what it wants, but may not see all that the request is part of. */
function withScopes(target: AuthTarget, challenge: Challenge): AuthTarget {
  const asked = challenge.params.get('scope')?.split(' ').filter(Boolean) ?? []
  return { ...target, scopes: [...target.scopes, ...asked] }
}

async function headerFor(
  state: State,
  target: AuthTarget,
  challenge: Challenge,
): Promise<string | undefined> {
  const credentials = await state.options.credentials(target.registry, target.repository)
  if (credentials?.kind === 'registry-token') return bearer(credentials.token)
  if (challenge.scheme === 'basic') return basicAuthorization(credentials)
  const token = await tokenFor(state, { target, challenge, credentials })
  return bearer(token.text)
}

function bearer(token: string): string {
  return `Bearer ${token}`
}

/** One scope per resource, with the actions of all; sorted. `a:x:pull` + `a:x:push` = `a:x:pull,push`. */
function mergeScopes(scopes: readonly string[]): string[] {
  const actions = new Map<string, Set<string>>()
  for (const scope of scopes) {
    // The resource may have a port in its name: only the last colon counts.
    const colon = scope.lastIndexOf(':')
    const resource = scope.slice(0, colon)
    const merged = actions.get(resource) ?? new Set()
    for (const action of scope.slice(colon + 1).split(',')) merged.add(action)
    actions.set(resource, merged)
  }
  return [...actions].map(([resource, set]) => `${resource}:${[...set].sort().join(',')}`).sort()
}

interface TokenNeed {
  readonly target: AuthTarget
  readonly challenge: Challenge
  readonly credentials: Credentials | undefined
}

async function tokenFor(state: State, need: TokenNeed): Promise<Token> {
  const { target, challenge, credentials } = need
  const { transport, now } = state.options
  const realm = realmOf(challenge, target.endpoint)
  if (credentials !== undefined && state.options.mayLogInAt?.(realm) === false) {
    throw new OciError(
      'denied',
      `Cannot log in to "${target.registry}": its token server is "${printable(realm.host)}", which the credentials are not for`,
    )
  }
  const service = challenge.params.get('service')
  const scopes = mergeScopes(target.scopes)
  const key = JSON.stringify([target.registry, target.repository, realm.href, service, scopes])

  const cached = state.tokens.get(key)
  const known = cached === undefined ? undefined : await cached.catch(() => undefined)
  if (known !== undefined && known.expiresAt - renewMs > now().getTime()) return known
  // While this caller waited, another may have begun to fetch.
  const current = state.tokens.get(key)
  if (current !== undefined && current !== cached) return current
  const { registry } = target
  const fetching = fetchToken(transport, { registry, realm, service, scopes, credentials }, now)
  state.tokens.set(key, fetching)
  // Of a server's many repositories; the first in a map is the one that has been there longest.
  for (const [oldest] of state.tokens) {
    if (state.tokens.size <= maxTokens) break
    state.tokens.delete(oldest)
  }
  return fetching
}

async function forgetToken(state: State, refused: string | undefined): Promise<void> {
  for (const [key, token] of state.tokens) {
    const known = await token.catch(() => undefined)
    if (known === undefined || bearer(known.text) === refused) state.tokens.delete(key)
  }
}
