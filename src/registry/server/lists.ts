/** Lists: tags (end-8a, 8b), referrers (end-12a, 12b), the catalog. */
import { mediaTypes } from '../../oci/media-type.ts'
import { listReferrers, type Referrer } from '../storage/referrers.ts'
import type { RegistryStorage } from '../storage/registry-storage.ts'
import { listRepositories, mustHaveRepository } from '../storage/repositories.ts'
import { listTags } from '../storage/tags.ts'
import { type Handler, jsonReply, type RegistryRequest, type Reply, single } from './exchange.ts'
import { nextLink, pageOf, pageRequest } from './paging.ts'
import type { Endpoint } from './request-path.ts'

type ReferrersEndpoint = Extract<Endpoint, { kind: 'referrers' }>

export const getTags: Handler<Extract<Endpoint, { kind: 'tags' }>> = async (request, storage) => {
  const { repository } = request.endpoint
  const asked = pageRequest(request.query)
  const page = await pageOf(asked, max => listTags(storage, repository, { last: asked.last, max }))
  // What has tags is there: a page costs one request to the storage.
  if (page.entries.length === 0) await mustHaveRepository(storage, repository)
  const path = `/v2/${repository}/tags/list`
  const next = page.more
    ? linkTo(path, { n: `${asked.size}`, last: page.entries.at(-1) ?? '' })
    : {}
  return jsonReply(200, { name: repository, tags: page.entries }, next)
}

export const getCatalog: Handler<Extract<Endpoint, { kind: 'catalog' }>> = async (
  request,
  storage,
) => {
  const asked = pageRequest(request.query)
  const page = await pageOf(asked, max => listRepositories(storage, { last: asked.last, max }))
  const last = page.entries.at(-1) ?? ''
  const next = page.more ? linkTo('/v2/_catalog', { n: `${asked.size}`, last }) : {}
  const names = page.entries.filter(name => request.session.may('pull', name))
  return jsonReply(200, { repositories: names }, next)
}

/**
 * Never 404: a subject that nobody knows has an empty list. A page ends where the next descriptor
 * would make it larger than clients read, or when enough have been looked at for one request.
 */
export const getReferrers: Handler<ReferrersEndpoint> = async (request, storage) => {
  const artifactType = single(request.query, 'artifactType')
  const page = await referrersPage(request, storage, artifactType)
  const body = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: page.descriptors }
  const path = `/v2/${request.endpoint.repository}/referrers/${request.endpoint.digest}`
  const filter: { artifactType?: string } = artifactType === undefined ? {} : { artifactType }
  return jsonReply(200, body, {
    'Content-Type': mediaTypes.index,
    ...(artifactType === undefined ? {} : { 'OCI-Filters-Applied': 'artifactType' }),
    ...(page.last === undefined ? {} : linkTo(path, { ...filter, last: page.last })),
  })
}

/** Below the 4 MiB that clients read of an index. */
const maxReferrersBytes = 3 * 1024 * 1024

interface ReferrersPage {
  readonly descriptors: readonly Referrer['descriptor'][]
  /** The last referrer looked at, when there are more. */
  readonly last?: string
}

async function referrersPage(
  request: RegistryRequest<ReferrersEndpoint>,
  storage: RegistryStorage,
  artifactType: string | undefined,
): Promise<ReferrersPage> {
  const { repository, digest: subject } = request.endpoint
  const asked = pageRequest(request.query)
  const { entries, more } = await pageOf(asked, max =>
    listReferrers(storage, repository, { subject, last: asked.last, max }),
  )
  const descriptors: Referrer['descriptor'][] = []
  let size = 0
  let last: string | undefined
  for (const { digest, descriptor, length } of entries) {
    if (size + length > maxReferrersBytes && last !== undefined) return { descriptors, last }
    last = digest
    if (artifactType !== undefined && typeOf(descriptor) !== artifactType) continue
    descriptors.push(descriptor)
    size += length
  }
  return more && last !== undefined ? { descriptors, last } : { descriptors }
}

function linkTo(path: string, parameters: Readonly<Record<string, string>>): Reply['headers'] {
  return { Link: nextLink(path, parameters) }
}

/** Empty for a referrer without one: an empty filter finds those. */
function typeOf({ artifactType }: Referrer['descriptor']): unknown {
  return artifactType ?? ''
}
