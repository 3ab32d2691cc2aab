/**
 * Tokens: what a registry's token server gives for credentials and scopes.
 *
 * Spec: distribution, token authentication (GET) and OAuth2 (POST).
 */
import { OciError, printable } from '../../oci/errors.ts'
import { asString, type JsonNode, member, optional, parseJson } from '../../oci/json.ts'
import type { Challenge } from './challenge.ts'
import type { Credentials } from './credentials.ts'
import { parseErrorBody, RegistryError } from './registry-error.ts'
import { parseRetryAfter } from './retry.ts'
import { type HttpRequest, type HttpResponse, readBody, type Transport } from './transport.ts'

export interface TokenRequest {
  /** For messages. */
  readonly registry: string
  readonly realm: URL
  readonly service: string | undefined
  /** `repository:<name>:pull,push`; sorted, without doubles. */
  readonly scopes: readonly string[]
  readonly credentials: Credentials | undefined
}

export interface Token {
  readonly text: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

const clientId = 'tsbuild'
const maxAnswer = 1024 * 1024

/** The spec's default and least lifetime. */
const minLifetimeSeconds = 60

/**
 * The realm of a Bearer challenge. Throws `invalid` unless it is http(s), and for http where the
 * registry itself is https: credentials would go out in the clear.
 */
export function realmOf(challenge: Challenge, endpoint: URL): URL {
  const text = challenge.params.get('realm') ?? ''
  const realm = URL.canParse(text) ? new URL(text) : undefined
  const isSafe =
    realm?.protocol === 'https:' || (realm?.protocol === 'http:' && endpoint.protocol === 'http:')
  if (realm === undefined || !isSafe || realm.username !== '' || realm.password !== '') {
    throw new OciError(
      'invalid',
      `Cannot log in to "${endpoint.host}": its token server "${printable(text, 80)}" is no ${endpoint.protocol}// address`,
    )
  }
  return realm
}

/** Throws {@link RegistryError} when the token server refuses, `invalid` for a malformed answer. */
export async function fetchToken(
  transport: Transport,
  request: TokenRequest,
  now: () => Date,
): Promise<Token> {
  const { credentials } = request
  if (credentials?.kind !== 'identity-token') return exchange(transport, getRequest(request), now)
  try {
    return await exchange(transport, oauthRequest(request, credentials.token), now)
  } catch (error) {
    // Servers without OAuth2 take an identity token as a password.
    const lacksOauth = error instanceof RegistryError && [404, 405].includes(error.status)
    if (!lacksOauth) throw error
    return exchange(transport, getRequest(request), now)
  }
}

function getRequest({ registry, realm, service, scopes, credentials }: TokenRequest): HttpRequest {
  const url = new URL(realm)
  if (service !== undefined) url.searchParams.set('service', service)
  for (const scope of scopes) url.searchParams.append('scope', scope)
  url.searchParams.set('client_id', clientId)
  const user = usernameOf(credentials)
  if (user !== undefined) url.searchParams.set('account', user)
  const authorization = basicAuthorization(credentials)
  return {
    method: 'GET',
    url,
    action: `log in to "${registry}"`,
    ...(authorization === undefined ? {} : { headers: { authorization } }),
  }
}

function oauthRequest(request: TokenRequest, refreshToken: string): HttpRequest {
  const { registry, realm, service, scopes } = request
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: clientId,
    scope: scopes.join(' '),
    refresh_token: refreshToken,
    ...(service === undefined ? {} : { service }),
  })
  return {
    method: 'POST',
    url: realm,
    action: `log in to "${registry}"`,
    redirects: 'same-origin',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: Buffer.from(form.toString()),
  }
}

function usernameOf(credentials: Credentials | undefined): string | undefined {
  return credentials === undefined || credentials.kind === 'registry-token'
    ? undefined
    : credentials.username
}

/** `undefined` when the credentials are no name and secret. */
export function basicAuthorization(credentials: Credentials | undefined): string | undefined {
  if (credentials === undefined || credentials.kind === 'registry-token') return undefined
  const pair =
    credentials.kind === 'password'
      ? `${credentials.username}:${credentials.password}`
      : `${credentials.username ?? '<token>'}:${credentials.token}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

async function exchange(
  transport: Transport,
  request: HttpRequest,
  now: () => Date,
): Promise<Token> {
  await using response = await transport.send(request)
  const bytes = await readBody(response, { action: request.action, limit: maxAnswer })
  if (response.status !== 200) throw refusal(request, response, { bytes, now: now() })
  return parseToken(request, bytes, now())
}

function refusal(
  { action }: HttpRequest,
  response: HttpResponse,
  { bytes, now }: { readonly bytes: Uint8Array; readonly now: Date },
): RegistryError {
  const retryAfterMs = parseRetryAfter(response.header('retry-after'), now)
  return new RegistryError({
    action,
    status: response.status,
    errors: parseErrorBody(bytes),
    isOfTokenServer: true,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
}

/** The lifetime is counted from here by our clock: `issued_at` is by another's. */
function parseToken({ action }: HttpRequest, bytes: Uint8Array, now: Date): Token {
  const node = parseAnswer(action, bytes)
  const text = stringMember(node, 'token') || stringMember(node, 'access_token')
  // It becomes a header.
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw new OciError('invalid', `Cannot ${action}: the token server gave no usable token`)
  }
  const { value } = member(node, 'expires_in')
  const seconds = typeof value === 'number' && Number.isFinite(value) ? value : 0
  return { text, expiresAt: now.getTime() + Math.max(seconds, minLifetimeSeconds) * 1000 }
}

function parseAnswer(action: string, bytes: Uint8Array): JsonNode {
  try {
    const node = parseJson('token', bytes)
    member(node, 'token')
    return node
  } catch {
    // Without cause: the parser's message may quote a token.
    throw new OciError('invalid', `Cannot ${action}: the token server's answer is no JSON object`)
  }
}

function stringMember(node: JsonNode, key: string): string {
  try {
    return optional(member(node, key), asString) ?? ''
  } catch {
    return ''
  }
}
