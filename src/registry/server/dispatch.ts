/** One request through the registry: parse, find the route, ask for access, handle, reply. */
import { hasCode } from '../../oci/errors.ts'
import type { RegistryStorage } from '../storage/registry-storage.ts'
import { ResourceError } from '../storage/resource-error.ts'
import type { Access, AccessRequest } from './access.ts'
import type { RegistryRequest, Reply } from './exchange.ts'
import { isInternal, replyToError } from './reply.ts'
import { type Endpoint, parseRequestPath, splitTarget } from './request-path.ts'
import { findRoute, methodsOf, type Route } from './routes.ts'

export interface Registry {
  readonly storage: RegistryStorage
  readonly access: Access
  /** Told of failures that are not the client's. */
  readonly onError: (error: unknown) => void
}

export type IncomingRequest = Pick<
  RegistryRequest,
  'method' | 'header' | 'body' | 'isRedirected' | 'reserveMemory'
> & {
  /** The request target as it was sent. */
  readonly target: string
}

/** Never throws, except what the body throws while it is sent. */
export async function dispatch(registry: Registry, incoming: IncomingRequest): Promise<Reply> {
  let endpoint: Endpoint | undefined
  try {
    const { path, query } = splitTarget(incoming.target)
    endpoint = parseRequestPath(path)
    const route = findRoute(incoming.method, endpoint.kind)
    if (route === undefined) return methodNotAllowed(incoming.method, endpoint)
    await registry.access.check(accessRequest(route, endpoint, incoming.header))
    const mayPull = (repository: string) =>
      mayAccess(registry.access, { action: 'pull', repository, header: incoming.header })
    return await route.handle({ ...incoming, endpoint, query, mayPull }, registry.storage)
  } catch (error) {
    if (isInternal(error)) registry.onError(error)
    return replyToError(error, endpoint)
  }
}

function methodNotAllowed(method: string, endpoint: Endpoint): Reply {
  const error = new ResourceError('unsupported method', `Cannot ${method} this resource`)
  const reply = replyToError(error, endpoint)
  return { ...reply, headers: { ...reply.headers, Allow: methodsOf(endpoint.kind).join(', ') } }
}

function accessRequest(
  { action }: Route,
  endpoint: Endpoint,
  header: AccessRequest['header'],
): AccessRequest {
  return 'repository' in endpoint
    ? { action, repository: endpoint.repository, header }
    : { action, header }
}

async function mayAccess(access: Access, request: AccessRequest): Promise<boolean> {
  try {
    await access.check(request)
    return true
  } catch (error) {
    if (hasCode(error, 'denied') || hasCode(error, 'unauthenticated')) return false
    throw error
  }
}
