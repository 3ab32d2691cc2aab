/** One request through the registry: parse, find the route, ask for access, handle, reply. */
import { parseRepositoryName } from '../../oci/reference.ts'
import type { RegistryStorage } from '../storage/registry-storage.ts'
import { ResourceError } from '../storage/resource-error.ts'
import type { Access, AccessRequest, Client } from './access/access.ts'
import type { Action } from './access/action.ts'
import type { Session } from './access/session.ts'
import type { Happening, RegistryRequest, Reply } from './exchange.ts'
import {
  admit,
  arrive,
  type Limits,
  mustBeOpen,
  noteRefusal,
  roomFor,
  storesSomething,
} from './limits/limits.ts'
import { isInternal, replyToError } from './reply.ts'
import { type Endpoint, parseTarget } from './request-path.ts'
import { findRoute, methodsOf, type Route } from './routes.ts'
import type { PullThrough } from './upstream/pull-through.ts'

export interface Registry {
  readonly storage: RegistryStorage
  readonly access: Access
  readonly limits?: Limits | undefined
  /** What the operator lets be done at all, by whomever; default: everything. */
  readonly isOffered?: (action: Action) => boolean
  /** Told of what requests did, before their reply is sent. Never throws. */
  readonly onHappened?: (
    happened: readonly Happening[],
    by: { readonly method: string; readonly client: Client; readonly user: string | undefined },
  ) => Promise<void>
  /** Repositories that are other registries'; default: none. */
  readonly pullThrough?: PullThrough | undefined
  /** Told of failures that are not the client's. */
  readonly onError: (error: unknown) => void
}

export type IncomingRequest = Pick<
  RegistryRequest,
  'method' | 'header' | 'body' | 'isRedirected' | 'reserveMemory'
> & {
  /** The request target as it was sent. */
  readonly target: string
  readonly client: Client
  /** Told who it is, for the log. */
  readonly onAdmitted?: (session: Session) => void
}

/** Never throws, except what the body throws while it is sent. */
export async function dispatch(registry: Registry, incoming: IncomingRequest): Promise<Reply> {
  let endpoint: Endpoint | undefined
  try {
    const { limits } = registry
    mustBeOpen(limits)
    const { query, ...parsed } = parseTarget(incoming.target)
    endpoint = parsed.endpoint
    endpoint = registry.pullThrough?.locate(incoming.method, endpoint, query) ?? endpoint
    const route = findRoute(incoming.method, endpoint.kind)
    if (route === undefined) return methodNotAllowed(incoming.method, endpoint)
    const { method, client } = incoming
    arrive(limits, { method, client, endpoint })
    const wanted = accessRequest(route, endpoint, query)
    const session = await registry.access.admit(client, wanted)
    incoming.onAdmitted?.(session)
    if (registry.isOffered?.(route.action) === false) return notOffered(route, endpoint)
    const user = session.name
    const left = admit(limits, { method, client, endpoint }, user)
    const reply = await handle(registry, route, requestOf(incoming, { endpoint, query, session }))
    if (reply.happened !== undefined) {
      await registry.onHappened?.(reply.happened, { method, client, user })
    }
    return left === undefined ? reply : { ...reply, headers: { ...left, ...reply.headers } }
  } catch (error) {
    noteRefusal(registry.limits, error)
    if (isInternal(error)) registry.onError(error)
    return replyToError(error, endpoint)
  }
}

/** Each member by its name: to copy them all takes longer than to find a manifest (measured). */
function requestOf(
  { method, header, body, isRedirected, reserveMemory }: IncomingRequest,
  { endpoint, query, session }: Pick<RegistryRequest, 'endpoint' | 'query' | 'session'>,
): RegistryRequest {
  return { method, endpoint, query, header, body, session, isRedirected, reserveMemory }
}

/** Within the quotas of the repository, which what is pulled through is not asked for. */
async function handle(
  { limits, storage, pullThrough }: Registry,
  route: Route,
  request: RegistryRequest,
): Promise<Reply> {
  const through = pullThrough?.answer(route, request)
  if (through !== undefined) return await through
  if (!storesSomething(request)) return await route.handle(request, storage)
  using room = await roomFor(limits, request, storage)
  if (room === undefined) return await route.handle(request, storage)
  const body = room.counted(request.body)
  const reply = await route.handle({ ...request, body, mustFit: room.take }, storage)
  if (reply.status < 300) room.keep()
  return reply
}

function methodNotAllowed(method: string, endpoint: Endpoint): Reply {
  const error = new ResourceError('unsupported method', `Cannot ${method} this resource`)
  const reply = replyToError(error, endpoint)
  return { ...reply, headers: { ...reply.headers, Allow: methodsOf(endpoint.kind).join(', ') } }
}

/** As distribution answers where deleting is off or the registry is read-only. */
function notOffered({ method }: Route, endpoint: Endpoint): Reply {
  const message = `Cannot ${method} this: the registry is set up not to ${method === 'DELETE' ? 'delete' : 'change'} anything`
  return replyToError(new ResourceError('unsupported method', message), endpoint)
}

function accessRequest(
  { action }: Route,
  endpoint: Endpoint,
  query: URLSearchParams,
): AccessRequest {
  if (!('repository' in endpoint)) return { action }
  const { repository } = endpoint
  const source = endpoint.kind === 'uploads' ? mountSource(query) : undefined
  return { action, repository, ...(source === undefined ? {} : { source }) }
}

/** As far as it is a repository's name; what else it may be is the handler's to refuse. */
function mountSource(query: URLSearchParams): string | undefined {
  const from = query.has('mount') ? query.get('from') : null
  try {
    return from === null ? undefined : parseRepositoryName(from)
  } catch {
    return undefined
  }
}
