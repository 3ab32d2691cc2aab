/**
 * What an upstream's failure means, and what a client is told of it.
 *
 * | upstream                                         | means     | with a copy of the tag | without |
 * |--------------------------------------------------|-----------|------------------------|---------|
 * | 404                                              | `gone`    | 404, the tag goes too  | 404     |
 * | 401, 403 without credentials; other refusals     | `refused` | 404                    | 404     |
 * | 429, of the registry or of its token server      | `failing` | the copy               | 429     |
 * | 5xx, no answer, credentials that are not taken   | `failing` | the copy               | 503     |
 * | what cannot be right: digests, sizes, redirects  | `failing` | the copy               | 502     |
 */
import { hasCode, OciError } from '../../../oci/errors.ts'
import { RegistryError, TransportError } from '../../client/registry-error.ts'
import { type ResourceError, UpstreamError } from '../../storage/resource-error.ts'
import { missKey, type Place, type Through } from './context.ts'
import type { Upstream } from './upstream.ts'

export type Meaning = 'gone' | 'refused' | 'failing'

/** Throws what is no failure of the upstream: those of our own storage, and bugs. */
export function meaningOf({ settings }: Upstream, error: unknown): Meaning {
  if (!(error instanceof OciError)) throw error
  if (!(error instanceof RegistryError)) return 'failing'
  const { status, isOfTokenServer } = error
  if (status === 401 || status === 403) return settings.credentials ? 'failing' : 'refused'
  if (isOfTokenServer) return 'failing'
  if (status === 404) return 'gone'
  return status >= 500 || [405, 408, 429].includes(status) ? 'failing' : 'refused'
}

/** How long to leave the upstream alone after a failure: others will fare no better. */
export function pauseFor(error: unknown): number | undefined {
  if (error instanceof RegistryError && error.status === 429) {
    return Math.min(error.retryAfterMs ?? 60_000, 3_600_000)
  }
  const isAway = error instanceof TransportError || hasCode(error, 'unavailable')
  return isAway ? 10_000 : undefined
}

/** For `gone` and `refused`, the `notFound` of what was asked for; else the failure as clients see it. */
export function replyError(
  upstream: Upstream,
  error: unknown,
  notFound: () => ResourceError,
): ResourceError {
  if (error instanceof UpstreamError) return error
  if (meaningOf(upstream, error) !== 'failing') return notFound()
  return asUpstreamError(error as OciError)
}

function asUpstreamError(error: OciError): UpstreamError {
  const { message } = error
  const retryAfterMs = error instanceof RegistryError ? error.retryAfterMs : undefined
  if (error instanceof RegistryError && error.status === 429) {
    return new UpstreamError('unavailable upstream-limit', message, { cause: error, retryAfterMs })
  }
  const isAway = ['unavailable', 'unauthenticated', 'denied'] as const
  if (isAway.some(code => error.code === code)) {
    return new UpstreamError('unavailable upstream', message, { cause: error, retryAfterMs })
  }
  return new UpstreamError('invalid upstream', message, { cause: error })
}

/** For the log, and for how long the upstream is left alone. */
export function noteFailure(
  { reports }: Through,
  { upstream, repository }: Place,
  failure: { readonly name: string; readonly error: unknown; readonly hasCopy: boolean },
): void {
  const pauseMs = failure.error instanceof UpstreamError ? undefined : pauseFor(failure.error)
  if (pauseMs !== undefined) upstream.trouble.begin(failure.error, pauseMs)
  reports.failed({ upstream: upstream.name, repository, ...failure })
}

export function rememberMiss({ misses }: Through, place: Place, name: string): void {
  const { missTtlMs } = place.upstream.settings
  if (missTtlMs > 0) misses.set(missKey(place, name), true, { ttl: missTtlMs })
}

/** Throws {@link UpstreamError} while the upstream is to be left alone. */
export function mustNotBeInTrouble({ upstream }: Place): void {
  const { current } = upstream.trouble
  if (current === undefined) return
  const { message } = current.error as OciError
  const failure = isLimit(current.error) ? 'upstream-limit' : 'upstream'
  throw new UpstreamError(`unavailable ${failure}`, message, { retryAfterMs: current.leftMs })
}

/** Whether the upstream asked not to be asked: who has no copy waits too. */
export function isLimit(error: unknown): boolean {
  return pauseFor(error) !== undefined && (error as { readonly status?: number }).status === 429
}
