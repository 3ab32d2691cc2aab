/**
 * Lists of upstreams: tags and referrers, passed on page by page, remembered as long as a tag is
 * believed. What is here of a repository is only what somebody pulled: it is listed when the upstream
 * cannot be asked.
 */
import { LRUCache } from 'lru-cache'
import { type Digest, parseDigest } from '../../../oci/digest.ts'
import { OciError } from '../../../oci/errors.ts'
import { acceptedManifests, mediaTypes } from '../../../oci/media-type.ts'
import { parseTag, type Tag } from '../../../oci/reference.ts'
import { RegistryError } from '../../client/registry-error.ts'
import { sendRequest } from '../../client/request.ts'
import { readBody } from '../../client/transport.ts'
import { readManifest } from '../../storage/manifests.ts'
import { ResourceError, UpstreamError } from '../../storage/resource-error.ts'
import { jsonReply, type RegistryRequest, type Reply, single } from '../exchange.ts'
import { pageRequest } from '../paging.ts'
import type { Endpoint } from '../request-path.ts'
import { missKey, type Place, type Through } from './context.ts'
import { isLimit, mustNotBeInTrouble, noteFailure, rememberMiss, replyError } from './failure.ts'
import type { ManifestCopies } from './manifest-copies.ts'
import { SingleFlight } from './single-flight.ts'
import { within } from './upstream.ts'

interface List {
  readonly entries: readonly unknown[]
  /** Query of the next page, when there is one. */
  readonly next?: string | undefined
  /** The upstream has chosen by `artifactType` already. */
  readonly isFiltered?: boolean
}

type ListEndpoint = Extract<Endpoint, { kind: 'tags' | 'referrers' }>

const maxBytes = 16 * 1024 * 1024

/** More than any cursor of a registry. */
const maxQuery = 2048

export class ListCopies {
  readonly #through: Through
  readonly #manifests: ManifestCopies
  readonly #known = new LRUCache<string, List>({ max: 1000, maxSize: 64 * 1024 * 1024 })
  readonly #fetching = new SingleFlight<List>()

  constructor(through: Through, manifests: ManifestCopies) {
    this.#through = through
    this.#manifests = manifests
  }

  /** `ofCopies` lists what is here. Throws `not-found` of the repository, and {@link UpstreamError}. */
  async answer(
    place: Place,
    request: RegistryRequest,
    ofCopies: () => Promise<Reply>,
  ): Promise<Reply> {
    const endpoint = request.endpoint as ListEndpoint
    const query = queryOf(request)
    const name = endpoint.kind === 'tags' ? 'tags' : endpoint.digest
    try {
      const list = await this.#list(place, endpoint, query)
      return replyOf(place, request, list)
    } catch (error) {
      const notFound = () => unknownRepository(place)
      const told = replyError(place.upstream, error, notFound)
      if (!(told instanceof UpstreamError)) {
        rememberMiss(this.#through, place, `${endpoint.kind} ${query}`)
        throw told
      }
      const reply = await ofCopies().catch(ignoreMissing)
      noteFailure(this.#through, place, { name, error, hasCopy: reply !== undefined })
      if (reply === undefined) throw told
      return reply
    }
  }

  #list(place: Place, endpoint: ListEndpoint, query: string): Promise<List> {
    const path = endpoint.kind === 'tags' ? 'tags/list' : `referrers/${endpoint.digest}`
    const key = missKey(place, `${path}?${query}`)
    const known = this.#known.get(key)
    if (known !== undefined) return Promise.resolve(known)
    if (this.#through.misses.has(missKey(place, `${endpoint.kind} ${query}`))) {
      return Promise.reject(unknownRepository(place))
    }
    return this.#fetching.run(key, async () => {
      const { upstream } = place
      const limited = upstream.trouble.current
      if (limited !== undefined && isLimit(limited.error)) mustNotBeInTrouble(place)
      const fetch = endpoint.kind === 'tags' ? this.#tags : this.#referrers
      const list = await fetch.call(this, place, {
        path: `${path}${query && '?'}${query}`,
        endpoint,
      })
      const ttl = upstream.settings.tagTtlMs
      const size = JSON.stringify(list).length
      if (ttl > 0) this.#known.set(key, list, { ttl, size })
      return list
    })
  }

  async #tags(place: Place, { path }: { readonly path: string }): Promise<List> {
    const { document, next } = await fetchJson(place, path)
    const { tags } = document
    const entries = Array.isArray(tags) ? tags.filter(isTag) : []
    return { entries, next }
  }

  async #referrers(
    place: Place,
    { path, endpoint }: { readonly path: string; readonly endpoint: ListEndpoint },
  ): Promise<List> {
    try {
      const { document, next, isFiltered } = await fetchJson(place, path)
      return { entries: descriptorsOf(document), next, isFiltered }
    } catch (error) {
      const isOlder = error instanceof RegistryError && [404, 405].includes(error.status)
      if (!isOlder || endpoint.kind !== 'referrers') throw error
      return { entries: await this.#fallback(place, endpoint.digest) }
    }
  }

  /** Of registries without the API: an index under a tag. Spec: Referrers Tag Schema. */
  async #fallback(place: Place, subject: Digest): Promise<unknown[]> {
    const { storage } = this.#through
    const tag = parseTag(subject.replace(':', '-').slice(0, 128)) as Tag
    try {
      const { manifest } = await this.#manifests.settle(place, tag)
      const reference = { kind: 'tag', tag } as const
      const found = manifest ?? (await readManifest(storage, place.repository, reference))
      return descriptorsOf(objectFrom(found.bytes, 'read referrers'))
    } catch (error) {
      if (error instanceof ResourceError && error.code === 'not-found') return []
      throw error
    }
  }
}

function replyOf(place: Place, request: RegistryRequest, list: List): Reply {
  const endpoint = request.endpoint as ListEndpoint
  const path = endpoint.kind === 'tags' ? 'tags/list' : `referrers/${endpoint.digest}`
  const next =
    list.next === undefined ? undefined : `</v2/${place.repository}/${path}?${list.next}>`
  const link = next === undefined ? {} : { Link: `${next}; rel="next"` }
  if (endpoint.kind === 'tags') {
    return jsonReply(200, { name: place.repository, tags: list.entries }, link)
  }
  const wanted = single(request.query, 'artifactType')
  const entries = list.entries as readonly { readonly artifactType?: unknown }[]
  const isOpen = wanted === undefined || list.isFiltered === true
  const manifests = isOpen ? entries : entries.filter(one => (one.artifactType ?? '') === wanted)
  const body = { schemaVersion: 2, mediaType: mediaTypes.index, manifests }
  return jsonReply(200, body, {
    'Content-Type': mediaTypes.index,
    ...(wanted === undefined ? {} : { 'OCI-Filters-Applied': 'artifactType' }),
    ...link,
  })
}

/** As the client sent it, without what is for us: upstreams have cursors of their own. */
function queryOf({ query, endpoint }: RegistryRequest): string {
  if (endpoint.kind === 'tags') pageRequest(query)
  const passed = new URLSearchParams(query)
  passed.delete('ns')
  const text = passed.toString()
  if (text.length <= maxQuery) return text
  throw new ResourceError('too-large parameter', 'Cannot list: the query is too long')
}

interface FetchedList {
  readonly document: Readonly<Record<string, unknown>>
  readonly next: string | undefined
  readonly isFiltered: boolean
}

async function fetchJson({ upstream, remote }: Place, path: string): Promise<FetchedList> {
  const action = `list "${remote.registry}/${remote.repository}"`
  const request = async () => {
    await using response = await sendRequest(upstream.client, remote, {
      method: 'GET',
      path,
      action,
      access: 'pull',
      headers: { accept: ['application/json', ...acceptedManifests].join(', ') },
      expect: [200],
    })
    const bytes = await readBody(response, { action, limit: maxBytes })
    return {
      document: objectFrom(bytes, action),
      next: nextOf(response.header('link')),
      isFiltered: response.header('oci-filters-applied')?.includes('artifactType') === true,
    }
  }
  const list = await within(upstream.staleAfterMs * 3, action, request())
  upstream.trouble.end()
  return list
}

/** Only the query: where the upstream is does not come from the upstream. */
function nextOf(link: string | undefined): string | undefined {
  const [, target] = /^\s*<([^<>]{1,4096})>\s*;\s*rel="?next"?/i.exec(link ?? '') ?? []
  if (target === undefined || !URL.canParse(target, 'http://upstream/')) return undefined
  const { searchParams } = new URL(target, 'http://upstream/')
  searchParams.delete('ns')
  const query = searchParams.toString()
  return query === '' || query.length > maxQuery ? undefined : query
}

function objectFrom(bytes: Uint8Array, action: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Told below.
  }
  throw new OciError('invalid', `Cannot ${action}: the answer is no JSON object`)
}

function descriptorsOf({ manifests }: Readonly<Record<string, unknown>>): unknown[] {
  return Array.isArray(manifests) ? manifests.filter(isDescriptor) : []
}

function isDescriptor(value: unknown): boolean {
  const { digest, mediaType, size } = (value ?? {}) as Readonly<Record<string, unknown>>
  const isComplete = typeof mediaType === 'string' && Number.isSafeInteger(size)
  return isComplete && passes(() => parseDigest(String(digest)))
}

function isTag(value: unknown): boolean {
  return typeof value === 'string' && passes(() => parseTag(value))
}

function passes(parse: () => unknown): boolean {
  try {
    parse()
    return true
  } catch {
    return false
  }
}

function ignoreMissing(error: unknown): undefined {
  if (!(error instanceof ResourceError) || error.code !== 'not-found') throw error
}

function unknownRepository({ upstream, repository }: Place): ResourceError {
  return new ResourceError(
    'not-found repository',
    `Cannot find repository "${repository}": "${upstream.name}" has none for us`,
    { detail: { name: repository } },
  )
}
