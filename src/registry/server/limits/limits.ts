/** What the operator lets clients have, as one request meets it. */
import { type Digest, parseDigest } from '../../../oci/digest.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import { findBlob } from '../../storage/blobs.ts'
import type { RegistryStorage } from '../../storage/registry-storage.ts'
import { ResourceError } from '../../storage/resource-error.ts'
import type { Client } from '../access/access.ts'
import type { RegistryRequest, Reply } from '../exchange.ts'
import type { Endpoint } from '../request-path.ts'
import { type Maintenance, UnderMaintenance } from './maintenance.ts'
import { QuotaExceeded, type Quotas, type Room } from './quotas.ts'
import { type RatedAction, RateExceeded, type RateLimits } from './rate-limits.ts'

export interface Limits {
  readonly rates: RateLimits
  readonly quotas: Quotas
  /** Asked each time; `undefined`: open. */
  readonly maintenance: () => Maintenance | undefined
  /** Told of the rule that a request was refused by. */
  readonly onRefused?: (kind: 'rate' | 'quota', rule: string) => void
}

/** Throws {@link UnderMaintenance}. */
export function mustBeOpen(limits: Limits | undefined): void {
  const maintenance = limits?.maintenance()
  if (maintenance !== undefined) throw new UnderMaintenance(maintenance)
}

export interface Arrival {
  readonly method: string
  readonly client: Client
  /** Absent of pages beside the API. */
  readonly endpoint?: Endpoint
}

/** Throws {@link RateExceeded}. */
export function arrive(limits: Limits | undefined, { client, endpoint }: Arrival): void {
  limits?.rates.arrive({ remote: client.remote, repository: repositoryOf(endpoint) })
}

/**
 * The headers that tell the client how much it has left, where a rule counts it. Throws
 * {@link RateExceeded}.
 */
export function admit(
  limits: Limits | undefined,
  { method, client, endpoint }: Arrival,
  user: string | undefined,
): Reply['headers'] | undefined {
  return limits?.rates.admit({
    action: ratedAs(method, endpoint),
    isFree: method === 'HEAD',
    remote: client.remote,
    repository: repositoryOf(endpoint),
    user,
  })
}

/** As Docker Hub counts: a pull is a manifest that is got, and not one that is asked about. */
function ratedAs(method: string, endpoint: Endpoint | undefined): RatedAction | undefined {
  if (method === 'DELETE') return 'delete'
  if (endpoint?.kind !== 'manifest') return endpoint?.kind === 'tag-undo' ? 'push' : undefined
  return method === 'PUT' ? 'push' : 'pull'
}

export function storesSomething({
  method,
  endpoint,
}: Pick<RegistryRequest, 'method' | 'endpoint'>): boolean {
  return storing.has(method) && ['manifest', 'uploads', 'upload'].includes(endpoint.kind)
}

const storing: ReadonlySet<string> = new Set(['PUT', 'POST', 'PATCH'])

/**
 * Room in the quotas of the repository of a request that stores something; `undefined` where none is
 * needed, also for a blob that the repository has. A manifest takes its own, once its digest is known.
 */
export async function roomFor(
  limits: Limits | undefined,
  request: Pick<RegistryRequest, 'method' | 'endpoint' | 'header' | 'query'>,
  storage: RegistryStorage,
): Promise<Room | undefined> {
  const { method, endpoint, header } = request
  if (limits === undefined || !('repository' in endpoint)) return undefined
  const { repository } = endpoint
  if (!limits.quotas.isLimited(repository)) return undefined
  if (endpoint.kind === 'manifest') {
    const room = await limits.quotas.enter(repository, { announced: 0, isBeginning: false })
    return { ...room, counted: body => body }
  }
  if (await isThere(request, storage, repository)) return undefined
  const announced = Number(header('content-length') ?? 0)
  return await limits.quotas.enter(repository, {
    announced: Number.isSafeInteger(announced) ? announced : 0,
    isBeginning: method === 'POST',
  })
}

/** The repository has the blob that the query names, and no more bytes than it has are sent. */
async function isThere(
  { query, header }: Pick<RegistryRequest, 'header' | 'query'>,
  storage: RegistryStorage,
  repository: RepositoryName,
): Promise<boolean> {
  const named = query.get('mount') ?? query.get('digest')
  const length = Number(header('content-length') ?? Number.NaN)
  if (named === null || Number.isNaN(length)) return false
  let digest: Digest
  try {
    digest = parseDigest(named)
  } catch {
    // The handler's to refuse.
    return false
  }
  const blob = await findBlob(storage, repository, digest)
  return blob !== undefined && length <= blob.size
}

/** Told to the operator, whatever becomes of the request. */
export function noteRefusal(limits: Limits | undefined, error: unknown): void {
  if (!(error instanceof ResourceError)) return
  if (error instanceof RateExceeded) limits?.onRefused?.('rate', error.rule.text)
  if (error instanceof QuotaExceeded) limits?.onRefused?.('quota', error.rule.text)
}

function repositoryOf(endpoint: Endpoint | undefined): string | undefined {
  return endpoint !== undefined && 'repository' in endpoint ? endpoint.repository : undefined
}
