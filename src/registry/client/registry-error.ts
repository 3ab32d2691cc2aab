/**
 * The two failures of talking to a registry: it answered with an error, or it could not be heard.
 *
 * Text from the registry is made printable and cut; URLs are shown without query (presigned URLs
 * are credentials) and without user.
 */
import { STATUS_CODES } from 'node:http'
import { type ErrorCode, OciError, printable } from '../../oci/errors.ts'

/** One entry of the distribution spec's error list, ready to print. */
export interface RegistryErrorItem {
  readonly code: string
  readonly message: string
}

export interface RegistryErrorDetails {
  /** What was being done, for `Cannot …`. */
  readonly action: string
  readonly status: number
  readonly errors: readonly RegistryErrorItem[]
  /** How long the registry asked to be left alone. */
  readonly retryAfterMs?: number
  /** Whether it was its token server that answered, and not the registry. */
  readonly isOfTokenServer?: boolean
}

const codeOfStatus: Readonly<Record<number, ErrorCode>> = {
  401: 'unauthenticated',
  403: 'denied',
  404: 'not-found',
  405: 'unsupported',
  408: 'unavailable',
  409: 'conflict',
  412: 'conflict',
  413: 'too-large',
  415: 'unsupported',
  429: 'unavailable',
}

const hints: Readonly<Record<number, string>> = {
  401: 'Log in to the registry, or check that the repository exists',
  403: 'Check that these credentials may do this in this repository',
  429: 'The registry limits requests; logging in often raises the limit',
}

/** The registry answered, and the answer is an error. */
export class RegistryError extends OciError {
  override readonly name = 'RegistryError'
  readonly status: number
  readonly errors: readonly RegistryErrorItem[]
  readonly retryAfterMs: number | undefined
  readonly isOfTokenServer: boolean

  constructor(details: RegistryErrorDetails) {
    const { action, status, errors } = details
    const hint = hints[status]
    super(
      codeOfStatus[status] ?? (status >= 500 ? 'unavailable' : 'invalid'),
      `Cannot ${action}: registry answered ${describeStatus(status)}${describeItems(errors)}`,
      hint === undefined ? {} : { hint },
    )
    this.status = status
    this.errors = errors
    this.retryAfterMs = details.retryAfterMs
    this.isOfTokenServer = details.isOfTokenServer === true
  }
}

function describeStatus(status: number): string {
  const text = STATUS_CODES[status]
  return text === undefined ? `${status}` : `${status} ${text}`
}

function describeItems(errors: readonly RegistryErrorItem[]): string {
  if (errors.length === 0) return ''
  return ` (${errors.map(({ code, message }) => `${code}: ${message}`).join('; ')})`
}

/** How many of a registry's complaints are kept. */
const maxItems = 5

/** Reads an error body; anything that is no error list gives none. Never throws. */
export function parseErrorBody(bytes: Uint8Array): RegistryErrorItem[] {
  const body = parseLoosely(bytes)
  const list = body !== null && typeof body === 'object' && 'errors' in body ? body.errors : []
  if (!Array.isArray(list)) return []
  return list.slice(0, maxItems).map((item: unknown) => ({
    code: textMember(item, 'code') || 'UNKNOWN',
    message: textMember(item, 'message'),
  }))
}

function parseLoosely(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}

function textMember(item: unknown, key: 'code' | 'message'): string {
  if (item === null || typeof item !== 'object') return ''
  const value: unknown = (item as Record<string, unknown>)[key]
  return typeof value === 'string' ? printable(value) : ''
}

/** The connection failed before or while the registry answered. */
export class TransportError extends OciError {
  override readonly name = 'TransportError'
  /** Whether the same request may well succeed a moment later. */
  readonly isTransient: boolean

  constructor(action: string, url: URL, cause: unknown) {
    const reason = reasonOf(cause)
    const hint = hintFor(codeOf(cause))
    super('unavailable', `Cannot ${action}: ${printable(url.host)}: ${reason}`, {
      cause,
      ...(hint === undefined ? {} : { hint }),
    })
    this.isTransient = transientCodes.has(codeOf(cause))
  }
}

/** A refused connection or unknown host is not transient: it is nearly always a wrong name. */
const transientCodes = new Set([
  'BODY_TIMEOUT',
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'HEADERS_TIMEOUT',
])

const reasons: Readonly<Record<string, string>> = {
  BODY_TIMEOUT: 'no data for too long',
  CONNECT_TIMEOUT: 'connection timed out',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'name lookup failed',
  ETIMEDOUT: 'connection timed out',
  HEADERS_TIMEOUT: 'no answer for too long',
  HPE_HEADER_OVERFLOW: 'headers too large',
}

function codeOf(cause: unknown): string {
  if (!(cause instanceof Error) || !('code' in cause)) return ''
  return String(cause.code)
}

function reasonOf(cause: unknown): string {
  // Of the system's own errors Node says which call they came from.
  const isHangUp = codeOf(cause) === 'ECONNRESET' && !('syscall' in (cause as Error))
  if (isHangUp) return 'connection closed before the answer was complete'
  const known = reasons[codeOf(cause)]
  if (known !== undefined) return known
  return printable(cause instanceof Error ? cause.message : String(cause))
}

function hintFor(code: string): string | undefined {
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
    return 'If the registry speaks plain HTTP, allow that for it'
  }
  if (/CERT|VERIFY/.test(code)) return 'Trust the certificate of its authority'
  return undefined
}

/** A URL for messages: no user, query or fragment. */
export function describeUrl(url: URL): string {
  return printable(`${url.origin}${url.pathname}`)
}
