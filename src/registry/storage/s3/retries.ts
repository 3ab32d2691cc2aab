/** Again, when a request failed for a reason that passes; then `unavailable`. */
import { setTimeout as pause } from 'node:timers/promises'
import { OciError } from '../../../oci/errors.ts'
import { isOfObject, isPassing, S3Failure, untrustedReason } from './s3-failure.ts'

/** A client waits for its answer meanwhile, so this is what a server may take to start again. */
const patienceMs = 10_000

const firstPauseMs = 50
const longestPauseMs = 1000

export interface Attempt {
  /** Whether an earlier one may have been done, although it failed. */
  readonly isRepeated: boolean
}

/**
 * What `request` returns in the end. A failure that does not pass is thrown as it is; after that
 * of one that did not pass in time `unavailable`, with the last failure as its cause.
 */
export async function retrying<T>(
  what: string,
  request: (attempt: Attempt) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const started = performance.now()
  for (let round = 0; ; round++) {
    try {
      return await request({ isRepeated: round > 0 })
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof OciError) throw error
      if (!isPassing(error)) throw refusalFrom(what, error)
      const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** round) * (0.5 + Math.random())
      const isLate = performance.now() - started + pauseMs > patienceMs
      if (isLate && (round > 0 || isSilence(error))) throw unavailable(what, error)
      await pause(pauseMs, undefined, { signal })
    }
  }
}

/** A connection that broke deserves another however long it took; a silent server took its time. */
function isSilence(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ETIMEDOUT'
}

/** 404 and 412 are answers, and the caller's to read; the rest is a mistake of the operator. */
function refusalFrom(what: string, error: unknown): unknown {
  if (untrustedReason(error) !== undefined) return unavailable(what, error)
  if (!(error instanceof S3Failure)) return error
  if (isOfObject(error.s3Code) && [404, 412, 416].includes(error.status)) return error
  return unavailable(what, error)
}

export function unavailable(what: string, cause: unknown): OciError {
  const hint = hintFor(cause)
  return new OciError('unavailable', `${what}: the storage is unavailable`, {
    cause,
    ...(hint === undefined ? {} : { hint }),
  })
}

function hintFor(cause: unknown): string | undefined {
  const reason = untrustedReason(cause)
  if (reason !== undefined) {
    return `Its certificate is not trusted (${reason}): SSL_CERT_FILE names a file with its authority's`
  }
  if (!(cause instanceof S3Failure)) return undefined
  const { status, s3Code, region } = cause
  const named = hints.get(s3Code)
  if (named !== undefined) return named
  const isElsewhere = status === 301 || s3Code === 'AuthorizationHeaderMalformed'
  if (isElsewhere && region !== undefined) return `The bucket is in region "${region}"`
  if (status === 507) return 'The storage is full'
  return status === 403 || status === 401
    ? `The storage answered ${status} ${s3Code}: look at the credentials and the bucket's policy`
    : undefined
}

const hints: ReadonlyMap<string, string> = new Map([
  ['NoSuchBucket', 'Make the bucket first, or name another one'],
  ['XAdminUserNotFound', 'The storage knows no such access key: look at the credentials'],
  ['RequestTimeTooSkewed', "Set this machine's clock: it differs too much from the storage's"],
  ['QuotaExceeded', 'The storage is full: its quota is used up'],
])
