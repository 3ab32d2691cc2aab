/** Which upstream a repository is of, and which repository a mirror's request means. */
import { parseRepositoryName, type RepositoryName } from '../../../oci/reference.ts'
import { ResourceError } from '../../storage/resource-error.ts'
import { single } from '../exchange.ts'
import { type Endpoint, refuse } from '../request-path.ts'
import type { Place } from './context.ts'
import { remoteRepository, type Upstream } from './upstream.ts'

/** `upstreams` with the longest prefix first. `undefined` for a repository of our own. */
export function placeOf(upstreams: readonly Upstream[], repository: string): Place | undefined {
  const upstream = upstreams.find(
    ({ settings: { prefix } }) => prefix === '' || repository.startsWith(`${prefix}/`),
  )
  if (upstream === undefined) return undefined
  const name = repository as RepositoryName
  return { upstream, repository: name, remote: remoteRepository(upstream, repository) }
}

interface Asked {
  readonly method: string
  readonly endpoint: Endpoint
  readonly query: URLSearchParams
}

/**
 * containerd asks a mirror for `library/alpine?ns=docker.io`: it means our `docker.io/library/alpine`,
 * by whatever prefix that registry has here. Throws `not-found` of the repository for a registry that
 * is none of the upstreams, unless the repository is our own: nothing of another registry is given in
 * its place.
 */
export function locate(upstreams: readonly Upstream[], asked: Asked): Endpoint {
  const { method, endpoint, query } = asked
  const namespace = single(query, 'ns')
  const isRead = method === 'GET' || method === 'HEAD'
  if (namespace === undefined || !isRead || !('repository' in endpoint)) return endpoint
  const { repository } = endpoint
  const name = namespace === 'registry-1.docker.io' ? 'docker.io' : namespace
  const upstream = upstreams.find(candidate => candidate.name === name)
  if (upstream === undefined) {
    if (placeOf(upstreams, repository) === undefined) return endpoint
    throw unknownNamespace(repository)
  }
  const local = localName(upstream, repository)
  if (local === undefined) throw unknownNamespace(repository)
  return { ...endpoint, repository: refuse('repository', () => parseRepositoryName(local)) }
}

/** `undefined` when the upstream's path leaves the repository out. */
function localName({ settings }: Upstream, remote: string): string | undefined {
  const path = settings.url.pathname.split('/').filter(Boolean).join('/')
  if (path !== '' && !remote.startsWith(`${path}/`)) return undefined
  const rest = path === '' ? remote : remote.slice(path.length + 1)
  return settings.prefix === '' ? rest : `${settings.prefix}/${rest}`
}

function unknownNamespace(repository: RepositoryName): ResourceError {
  return new ResourceError(
    'not-found repository',
    `Cannot find repository "${repository}" of the registry that "ns" names: it is no upstream of this one`,
    { detail: { name: repository } },
  )
}
