/**
 * The one table from our errors to a status and the specification's error codes, and the headers
 * that every reply carries. Spec: distribution-spec, Error Codes.
 */
import { type ErrorCode, hasCode, OciError } from '../../oci/errors.ts'
import {
  MissingReferencesError,
  type Resource,
  ResourceError,
  UploadRangeError,
  UpstreamError,
} from '../storage/resource-error.ts'
import { LoginNeeded } from './access/access.ts'
import { jsonReply, type Reply } from './exchange.ts'
import { UnderMaintenance } from './limits/maintenance.ts'
import { RateExceeded } from './limits/rate-limits.ts'
import type { Endpoint } from './request-path.ts'
import { uploadHeaders } from './uploads.ts'

interface Answer {
  readonly status: number
  readonly code: string
}

type Failure = `${ErrorCode} ${Resource}`

const answers: Readonly<Partial<Record<Failure, Answer>>> = {
  'not-found blob': { status: 404, code: 'BLOB_UNKNOWN' },
  'not-found endpoint': { status: 404, code: 'UNSUPPORTED' },
  'not-found manifest': { status: 404, code: 'MANIFEST_UNKNOWN' },
  'not-found repository': { status: 404, code: 'NAME_UNKNOWN' },
  'not-found tag': { status: 404, code: 'MANIFEST_UNKNOWN' },
  'not-found upload': { status: 404, code: 'BLOB_UPLOAD_UNKNOWN' },
  'not-found reference': { status: 400, code: 'MANIFEST_BLOB_UNKNOWN' },
  'invalid digest': { status: 400, code: 'DIGEST_INVALID' },
  'invalid manifest': { status: 400, code: 'MANIFEST_INVALID' },
  'invalid page': { status: 400, code: 'PAGINATION_NUMBER_INVALID' },
  'invalid parameter': { status: 400, code: 'UNSUPPORTED' },
  'invalid repository': { status: 400, code: 'NAME_INVALID' },
  'invalid size': { status: 400, code: 'SIZE_INVALID' },
  'invalid tag': { status: 400, code: 'TAG_INVALID' },
  'invalid upload': { status: 400, code: 'BLOB_UPLOAD_INVALID' },
  'digest-mismatch blob': { status: 400, code: 'DIGEST_INVALID' },
  'digest-mismatch manifest': { status: 400, code: 'DIGEST_INVALID' },
  'conflict range': { status: 416, code: 'RANGE_INVALID' },
  'conflict tag': { status: 409, code: 'DENIED' },
  'denied quota': { status: 403, code: 'DENIED' },
  'denied tag': { status: 403, code: 'DENIED' },
  'conflict precondition': { status: 412, code: 'PRECONDITION_FAILED' },
  'too-large manifest': { status: 413, code: 'SIZE_INVALID' },
  'too-large parameter': { status: 414, code: 'UNSUPPORTED' },
  'unavailable registry': { status: 503, code: 'UNAVAILABLE' },
  'unavailable client': { status: 429, code: 'TOOMANYREQUESTS' },
  'unsupported method': { status: 405, code: 'UNSUPPORTED' },
  'invalid upstream': { status: 502, code: 'UNAVAILABLE' },
  'unavailable upstream': { status: 503, code: 'UNAVAILABLE' },
  'unavailable upstream-limit': { status: 429, code: 'TOOMANYREQUESTS' },
}

const byCode: Readonly<Partial<Record<ErrorCode, Answer>>> = {
  conflict: { status: 409, code: 'UNKNOWN' },
  denied: { status: 403, code: 'DENIED' },
  invalid: { status: 400, code: 'UNKNOWN' },
  unauthenticated: { status: 401, code: 'UNAUTHORIZED' },
  unavailable: { status: 503, code: 'UNAVAILABLE' },
}

/** System errors that mean "not now": the client may try again, the operator must act. */
const shortages = ['ENOSPC', 'EDQUOT', 'EROFS', 'EMFILE', 'ENFILE', 'EIO'] as const

/** Goes with every reply: a client's content is never run as a page of this site. */
export const commonHeaders: Reply['headers'] = {
  'Docker-Distribution-API-Version': 'registry/2.0',
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; sandbox",
}

/** Never throws. What is not an error we know is told as such, without its message. */
export function replyToError(error: unknown, endpoint: Endpoint | undefined): Reply {
  const answer = answerTo(error)
  if (answer === undefined) return internal(500, 'UNKNOWN', 'The registry failed')
  if (!(error instanceof OciError)) return internal(503, answer.code, 'The storage is unavailable')
  return jsonReply(
    answer.status,
    { errors: errorsOf(error, answer.code) },
    { ...positionHeaders(error, endpoint), ...loginHeaders(error), ...retryHeaders(answer, error) },
  )
}

/** Whether the operator must hear of it, beyond the line of the request. */
export function isInternal(error: unknown): boolean {
  if (error instanceof ResourceError) return false
  return !(error instanceof OciError) || error.code === 'unavailable'
}

/** Whether the storage cannot do it now, and may another time. */
export function isShortage(error: unknown): boolean {
  return shortages.some(code => hasCode(error, code))
}

function answerTo(error: unknown): Answer | undefined {
  if (error instanceof ResourceError) return answers[`${error.code} ${error.resource}`]
  if (error instanceof OciError) return byCode[error.code]
  return isShortage(error) ? { status: 503, code: 'UNAVAILABLE' } : undefined
}

function errorsOf(error: OciError, code: string): object[] {
  if (error instanceof MissingReferencesError) {
    return error.missing.map(digest => ({ code, message: error.message, detail: { digest } }))
  }
  const detail = error instanceof ResourceError ? error.detail : undefined
  return [{ code, message: error.message, ...(detail === undefined ? {} : { detail }) }]
}

/** After a chunk out of order the client learns where to go on. Spec: end-5, end-13. */
function positionHeaders(error: unknown, endpoint: Endpoint | undefined): Reply['headers'] {
  if (!(error instanceof UploadRangeError) || endpoint?.kind !== 'upload') return {}
  return uploadHeaders(endpoint, error.received)
}

function loginHeaders(error: unknown): Reply['headers'] {
  return error instanceof LoginNeeded ? { 'WWW-Authenticate': error.challenge } : {}
}

function retryHeaders({ status }: Answer, error?: OciError): Reply['headers'] {
  if (status !== 503 && status !== 429) return {}
  const isTold = error instanceof RateExceeded || error instanceof UnderMaintenance
  const seconds = isTold ? error.retryAfterS : upstreamSeconds(error)
  return { 'Retry-After': String(seconds ?? 5) }
}

function upstreamSeconds(error: OciError | undefined): number | undefined {
  if (!(error instanceof UpstreamError) || error.retryAfterMs === undefined) return undefined
  return Math.max(1, Math.ceil(error.retryAfterMs / 1000))
}

function internal(status: number, code: string, message: string): Reply {
  return jsonReply(status, { errors: [{ code, message }] }, retryHeaders({ status, code }))
}
