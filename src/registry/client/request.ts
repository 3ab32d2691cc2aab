/**
 * A request to a registry: endpoint, authorization, retries, and errors with the registry's words.
 */
import type { Reference } from '../../oci/reference.ts'
import { type Access, type AuthTarget, repositoryScope } from './auth.ts'
import type { RegistryClient } from './client.ts'
import { endpointOf } from './endpoint.ts'
import { parseErrorBody, RegistryError } from './registry-error.ts'
import { parseRetryAfter, retrying } from './retry.ts'
import {
  type BodySource,
  type HttpMethod,
  type HttpResponse,
  readBody,
  resolveLocation,
} from './transport.ts'

/** Where blobs and manifests live; every `Reference` is one. */
export type Repository = Pick<Reference, 'registry' | 'repository'>

/** A repository, or the registry itself. */
type Destination = Pick<Reference, 'registry'> & Partial<Repository>

export interface RegistryRequest {
  readonly method: HttpMethod
  /** Below the repository (`manifests/latest`), or the location of an upload. */
  readonly path: string | URL
  /** What is being done, for `Cannot …` messages. */
  readonly action: string
  readonly access: Access
  /** Repositories that are read besides, for a mount. */
  readonly alsoReads?: readonly string[]
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: BodySource | Uint8Array
  /** Statuses that are no error. */
  readonly expect: readonly number[]
  /** `once` when the caller starts over from an earlier step instead. Default `again`. */
  readonly onFailure?: 'again' | 'once'
  readonly headersMs?: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Sends and retries until the answer is expected. Throws {@link RegistryError} for any other
 * answer, `TransportError` for none, and what authentication throws.
 */
export async function sendRequest(
  client: RegistryClient,
  to: Repository,
  request: RegistryRequest,
): Promise<HttpResponse> {
  const attempt = async () => {
    const { response } = await sendAuthorized(client, to, request)
    if (request.expect.includes(response.status)) return response
    throw await errorFrom(client, request, response)
  }
  return request.onFailure === 'once' ? attempt() : retrying(client.retry, attempt, request.signal)
}

export interface Ping {
  /** Whether the registry asked for credentials and then accepted ours. */
  readonly wasAuthorized: boolean
}

/** `GET /v2/`, with credentials when it asks. Throws as {@link sendRequest}. Spec: end-1. */
export async function sendPing(
  client: RegistryClient,
  registry: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Ping> {
  const action = `log in to "${registry}"`
  const request = { method: 'GET', path: '', action, access: 'pull', headers } as const
  const attempt = async (): Promise<Ping> => {
    const { response, authorization } = await sendAuthorized(client, { registry }, request)
    if (response.status !== 200) throw await errorFrom(client, request, response)
    await response[Symbol.asyncDispose]()
    return { wasAuthorized: authorization !== undefined }
  }
  return retrying(client.retry, attempt)
}

/** A 401 is answered at most this often: with what is known, then with a fresh token. */
const maxAnswers = 2

interface Answer {
  readonly response: HttpResponse
  /** What the request carried in the end. */
  readonly authorization: string | undefined
}

async function sendAuthorized(
  client: RegistryClient,
  to: Destination,
  request: Omit<RegistryRequest, 'expect'>,
): Promise<Answer> {
  const endpoint = endpointOf(to.registry, client.endpoints)
  const url = urlOf(endpoint, to, request)
  const target = authTarget(endpoint, to, request)
  // An upload's location may be at another host, which the credentials are not for.
  const isOurs = url.origin === endpoint.origin
  let authorization = isOurs ? await client.authenticator.authorization(target) : undefined
  for (let answers = 0; ; answers++) {
    const response = await client.transport.send({
      method: request.method,
      url,
      action: request.action,
      headers: {
        ...request.headers,
        ...(authorization === undefined ? {} : { authorization }),
      },
      ...(request.body === undefined ? {} : { body: request.body }),
      headersMs: request.headersMs,
      signal: request.signal,
    })
    // A 401 from where a redirect led is not the registry's question.
    const isAsked = response.status === 401 && isOurs && response.url.origin === endpoint.origin
    if (!isAsked || answers === maxAnswers) return { response, authorization }
    const better = await answerTo(client, target, { response, authorization })
    if (better === undefined) return { response, authorization }
    await response[Symbol.asyncDispose]()
    authorization = better
  }
}

async function answerTo(
  { authenticator }: RegistryClient,
  target: AuthTarget,
  { response, authorization }: Answer,
): Promise<string | undefined> {
  try {
    return await authenticator.answer(target, response, authorization)
  } catch (error) {
    await response[Symbol.asyncDispose]()
    throw error
  }
}

function urlOf(
  endpoint: URL,
  { repository }: Destination,
  { path, action }: Pick<RegistryRequest, 'path' | 'action'>,
): URL {
  if (path instanceof URL) return resolveLocation(action, path.href, endpoint)
  return new URL(repository === undefined ? '/v2/' : `/v2/${repository}/${path}`, endpoint)
}

function authTarget(
  endpoint: URL,
  { registry, repository }: Destination,
  { access, alsoReads = [] }: Pick<RegistryRequest, 'access' | 'alsoReads'>,
): AuthTarget {
  if (repository === undefined) return { registry, endpoint, scopes: [] }
  const also = alsoReads.map(name => repositoryScope(name, 'pull'))
  return { registry, endpoint, repository, scopes: [repositoryScope(repository, access), ...also] }
}

/** More of an error body than this is not read. */
const maxErrorBody = 64 * 1024

async function errorFrom(
  client: RegistryClient,
  { action }: Pick<RegistryRequest, 'action'>,
  response: HttpResponse,
): Promise<RegistryError> {
  const retryAfterMs = parseRetryAfter(response.header('retry-after'), client.now())
  await using _ = response
  const body = await readBody(response, { action, limit: maxErrorBody }).catch(
    () => new Uint8Array(),
  )
  return new RegistryError({
    action,
    status: response.status,
    errors: parseErrorBody(body),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
}

/** `registry/repository`, for messages. */
export function describeRepository({ registry, repository }: Repository): string {
  return `${registry}/${repository}`
}
