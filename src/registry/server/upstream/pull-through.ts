/**
 * Pull-through: repositories of other registries, shown as if they were here, and kept.
 *
 * The handlers stay as they are: what a request needs is brought into the storage first, and then
 * the usual handler answers. Only a blob that is still arriving, and what cannot be kept, is answered
 * from here. What clients may do was decided before: nobody without the right to pull makes us ask.
 */
import { LRUCache } from 'lru-cache'
import { ResourceError } from '../../storage/resource-error.ts'
import { bytesReply, headOf } from '../blobs.ts'
import type { RegistryRequest, Reply } from '../exchange.ts'
import { manifestReply } from '../manifests.ts'
import type { Endpoint } from '../request-path.ts'
import type { Route } from '../routes.ts'
import { lengthOf } from '../send-reply.ts'
import { BlobCopies } from './blob-copies.ts'
import {
  type ContentKind,
  createThrough,
  type Place,
  type Served,
  type Through,
  type ThroughOptions,
} from './context.ts'
import { ListCopies } from './lists.ts'
import { locate, placeOf } from './locate.ts'
import { ManifestCopies } from './manifest-copies.ts'
import {
  type NetworkSettings,
  openUpstream,
  type Upstream,
  type UpstreamSettings,
} from './upstream.ts'

export interface PullThrough extends AsyncDisposable {
  /** The endpoint that is meant: mirrors' requests say the registry in `ns`. Throws `not-found`. */
  locate(method: string, endpoint: Endpoint, query: URLSearchParams): Endpoint
  /** `undefined` for what has no upstream: the handler alone answers. */
  answer(route: Route, request: RegistryRequest): Promise<Reply> | undefined
  /** How long copies in the repository are kept unused, for the collector. */
  keepMs(repository: string): number | undefined
}

export interface PullThroughOptions extends ThroughOptions {
  readonly upstreams: readonly UpstreamSettings[]
  readonly network: NetworkSettings
}

/** Disposing it stops what is being fetched, and leaves nothing of it. */
export function createPullThrough(options: PullThroughOptions): PullThrough {
  const upstreams = options.upstreams
    .map(settings => openUpstream(settings, options.network))
    .sort((a, b) => b.settings.prefix.length - a.settings.prefix.length)
  const placeIn = rememberPlaces(upstreams)
  const stop = new AbortController()
  const through = createThrough(options, stop.signal)
  const blobs = new BlobCopies(through)
  const manifests = new ManifestCopies(through)
  const copies: Copies = { through, blobs, manifests, lists: new ListCopies(through, manifests) }
  return {
    locate: (method, endpoint, query) => locate(upstreams, { method, endpoint, query }),
    answer: (route, request) => {
      const { endpoint } = request
      const place = 'repository' in endpoint ? placeIn(endpoint.repository) : undefined
      if (place === undefined) return undefined
      return named(request, answer(copies, place, { route, request }))
    },
    keepMs: repository => placeOf(upstreams, repository)?.upstream.settings.keepMs,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('The registry stops'))
      await blobs.idle()
      for (const upstream of upstreams) await upstream[Symbol.asyncDispose]()
    },
  }
}

/** Every request for a copy asks, and making it out is almost a tenth of a manifest (measured). */
function rememberPlaces(upstreams: readonly Upstream[]): (repository: string) => Place | undefined {
  const known = new LRUCache<string, Place>({ max: 10_000 })
  return repository => {
    const found = known.get(repository)
    if (found !== undefined) return found
    const place = placeOf(upstreams, repository)
    if (place !== undefined) known.set(repository, place)
    return place
  }
}

interface Copies {
  readonly through: Through
  readonly blobs: BlobCopies
  readonly manifests: ManifestCopies
  readonly lists: ListCopies
}

interface Asked<E extends Endpoint = Endpoint> {
  readonly route: Route
  readonly request: RegistryRequest<E>
}

function answer(copies: Copies, place: Place, asked: Asked): Promise<Reply> {
  const { route, request } = asked
  const { storage } = copies.through
  if (route.action === 'push' || route.action === 'undo') throw isCopyOf(place, request.method)
  switch (`${route.action} ${request.endpoint.kind}`) {
    case 'pull manifest':
      return answerManifest(copies, place, asked as Asked<Extract<Endpoint, { kind: 'manifest' }>>)
    case 'pull blob':
      return answerBlob(copies, place, asked as Asked<Extract<Endpoint, { kind: 'blob' }>>)
    case 'pull tags':
    case 'pull referrers':
      return copies.lists.answer(place, request, () => route.handle(request, storage))
    default:
      return route.handle(request, storage)
  }
}

async function answerManifest(
  { through, manifests }: Copies,
  place: Place,
  { route, request }: Asked<Extract<Endpoint, { kind: 'manifest' }>>,
): Promise<Reply> {
  const { reference } = request.endpoint
  const give = (how: Served['how'], reply: Reply) =>
    served(through, { kind: 'manifest', how, reply })
  let how: Served['how'] = 'hit'
  if (reference.kind === 'tag') {
    const { tag } = reference
    const fresh = manifests.isFresh(place, tag)
    const settled = fresh === undefined ? await manifests.settle(place, tag) : { how: fresh }
    if (settled.manifest !== undefined) {
      return give(settled.how, manifestReply(request, settled.manifest))
    }
    how = settled.how
  }
  try {
    const reply = await route.handle(request, through.storage)
    if (reference.kind === 'digest') manifests.markUsed(place, reference.digest)
    return give(how, reply)
  } catch (error) {
    if (!isMissing(error, 'manifest')) throw error
  }
  // Collected or deleted since the tag was looked at, or never here.
  const manifest =
    reference.kind === 'digest'
      ? await manifests.fetchByDigest(place, reference.digest)
      : await manifests.fetchAgain(place, reference.tag)
  return give('miss', manifestReply(request, manifest))
}

async function answerBlob(
  { through, blobs }: Copies,
  place: Place,
  { route, request }: Asked<Extract<Endpoint, { kind: 'blob' }>>,
): Promise<Reply> {
  const { digest } = request.endpoint
  const give = (how: Served['how'], reply: Reply) => served(through, { kind: 'blob', how, reply })
  try {
    return give('hit', await route.handle(request, through.storage))
  } catch (error) {
    if (!isMissing(error, 'blob')) throw error
  }
  if (request.method === 'HEAD') {
    return headOf(request, { digest, size: await blobs.size(place, digest) })
  }
  const blob = await blobs.fetch(place, digest)
  if (blob === 'stored') return give('hit', await route.handle(request, through.storage))
  const all = { start: 0, end: blob.size }
  return give('miss', await bytesReply(request, blob, async range => blob.read(range ?? all)))
}

function isMissing(error: unknown, kind: ContentKind): boolean {
  return error instanceof ResourceError && error.code === 'not-found' && error.resource === kind
}

function served(
  { reports }: Through,
  { kind, how, reply }: Pick<Served, 'kind' | 'how'> & { readonly reply: Reply },
): Reply {
  const isBody = reply.body !== undefined
  reports.served({ kind, how, bytes: isBody ? (lengthOf(reply) ?? 0) : 0 })
  return reply
}

/** Spec: distribution-spec, Proxying: who was asked for another's namespace says which it gave. */
async function named({ query }: RegistryRequest, answering: Promise<Reply>): Promise<Reply> {
  const reply = await answering
  const namespace = query.get('ns')
  if (namespace === null || !/^[A-Za-z0-9.:_-]{1,255}$/.test(namespace)) return reply
  return { ...reply, headers: { ...reply.headers, 'OCI-Namespace': namespace } }
}

function isCopyOf({ upstream, repository, remote }: Place, method: string): ResourceError {
  return new ResourceError(
    'unsupported method',
    `Cannot ${method} this: "${repository}" shows "${remote.registry}/${remote.repository}"; push to "${upstream.name}" itself`,
  )
}
