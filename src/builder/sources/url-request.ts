/**
 * One GET of a URL that a build names: credentials from secrets, retries, and the status checked.
 *
 * The transport follows redirects and lets no credentials leave the origin they are for. A build
 * fetches what its Dockerfile says, from wherever this machine can reach: whoever builds what others
 * wrote decides with the machine's network what that is.
 */
import { type ErrorCode, OciError, printable } from '../../oci/errors.ts'
import type { RegistryClient } from '../../registry/client/client.ts'
import { pause, pauseAfter, pauseOf } from '../../registry/client/retry.ts'
import type { HttpResponse } from '../../registry/client/transport.ts'
import type { SecretSource } from '../steps/step-world.ts'

/** Of a registry's client only what knows no registries. */
export type HttpClient = Pick<RegistryClient, 'transport' | 'retry'>

export interface UrlRequest {
  readonly url: URL
  /** Besides `Authorization`. */
  readonly headers: Readonly<Record<string, string>>
  readonly secrets: SecretSource
  readonly signal: AbortSignal
}

/** Throws `invalid` for a text that is no URL. */
export function parseUrl(text: string): URL {
  if (URL.canParse(text)) return new URL(text)
  throw new OciError('invalid', `Cannot fetch "${printable(text)}": not a valid URL`)
}

/** A URL for messages: without user and password. */
export function shownUrl(url: URL): string {
  const shown = new URL(url)
  shown.username = ''
  shown.password = ''
  return printable(shown.href)
}

/**
 * The answer to a GET: 304, or a status of success, whose body the caller reads or disposes. Throws
 * `invalid response status N` for any other (C26), what the transport throws, and the signal's
 * reason.
 */
export async function getUrl(client: HttpClient, request: UrlRequest): Promise<HttpResponse> {
  const { url, secrets, signal } = request
  const authorization = await authorizationFor(url, secrets)
  const headers = { ...request.headers, ...authorization }
  for (let failures = 1; ; failures++) {
    try {
      const action = `fetch "${shownUrl(url)}"`
      const response = await client.transport.send({ method: 'GET', url, action, headers, signal })
      if (response.status === 304 || isSuccess(response.status)) return response
      await response[Symbol.asyncDispose]()
      throw new StatusError(url, response.status)
    } catch (error) {
      const isBusy = error instanceof StatusError && error.isTransient
      const pauseMs = (isBusy ? pauseOf : pauseAfter)(client.retry, failures, error)
      if (pauseMs === undefined) throw error
      await pause(pauseMs, signal)
    }
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300
}

const codeOfStatus: Readonly<Record<number, ErrorCode>> = {
  401: 'unauthenticated',
  403: 'denied',
  404: 'not-found',
  410: 'not-found',
}

class StatusError extends OciError {
  override readonly name = 'StatusError'
  readonly isTransient: boolean

  constructor(url: URL, status: number) {
    const isOurs = status === 401 || status === 403
    super(
      codeOfStatus[status] ?? (status >= 500 ? 'unavailable' : 'invalid'),
      `Cannot fetch "${shownUrl(url)}": invalid response status ${status}`,
      isOurs ? { hint: `give credentials with --secret id=HTTP_AUTH_TOKEN_${url.host}` } : {},
    )
    this.isTransient = status === 408 || status === 429 || status >= 500
  }
}

/** C28: a secret named after the host, else what the URL itself says. */
async function authorizationFor(
  url: URL,
  secrets: SecretSource,
): Promise<{ authorization?: string }> {
  const header = await secrets(`HTTP_AUTH_HEADER_${url.host}`)
  if (header !== undefined) return { authorization: headerText(header) }
  const token = await secrets(`HTTP_AUTH_TOKEN_${url.host}`)
  if (token !== undefined) return { authorization: `Bearer ${headerText(token)}` }
  if (url.username === '' && url.password === '') return {}
  const user = `${decoded(url.username)}:${decoded(url.password)}`
  return { authorization: `Basic ${Buffer.from(user).toString('base64')}` }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/**
 * A secret as the value of a header; files end in a newline. Throws `invalid` for one that would
 * start another header.
 */
export function headerText(secret: Uint8Array): string {
  const text = Buffer.from(secret).toString('utf8').trim()
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being refused
  if (!/[\x00-\x1f\x7f]/.test(text)) return text
  throw new OciError('invalid', 'Cannot use a secret as a header: it has control characters')
}
