/**
 * Transport: one HTTP request and its answer, redirects followed by hand.
 *
 * 1. `Authorization` goes to the origin it was made for; once a redirect has left it, no further
 *    hop gets it, not even one that leads back.
 * 2. A redirect never leads from https to http, and never to another scheme.
 * 3. Only idleness is limited (connect, headers, pause between bytes), never the whole: a large
 *    layer on a slow line is no error.
 * 4. An answer's body is read or disposed; otherwise its connection is lost to the pool.
 */
import { debuglog } from 'node:util'
import type { Received } from '../../layerfs/content/receive.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { mustBePublic } from './address-guard.ts'
import {
  type Answer,
  ask,
  discard,
  type OwnedBody,
  readAnswer,
  takeAnswer,
  timedOut,
} from './exchange.ts'
import { describeUrl, TransportError } from './registry-error.ts'
import { createRoutes, mustBeGuarded, type RouteOptions, type Routes } from './routes.ts'

export type HttpMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'

/** Makes the body anew for every time it is sent. */
export type BodySource = () => AsyncIterable<Uint8Array>

export interface HttpRequest {
  readonly method: HttpMethod
  readonly url: URL
  /** What is being done, for `Cannot …` messages. */
  readonly action: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: BodySource | Uint8Array
  /** `same-origin` when the body is a secret. Default `anywhere`. */
  readonly redirects?: 'anywhere' | 'same-origin'
  /** How long the answer may take to start once the request is sent; default from the options. */
  readonly headersMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface HttpResponse extends AsyncDisposable {
  readonly status: number
  /** Where the answer came from, after redirects. */
  readonly url: URL
  /** A header's first value; names are lower case. */
  header(name: string): string | undefined
  /** All values of a header that may come several times. */
  headerList(name: string): readonly string[]
  /** Throws {@link TransportError} when the connection breaks. */
  readonly body: AsyncIterable<Uint8Array>
  /** Instead of `body`: see {@link takeAnswer}. */
  take(length: number): BodyTaken | undefined
}

export interface BodyTaken extends OwnedBody {
  /** How long nothing may come. */
  readonly idleMs: number
  /** Why there was no more. */
  brokenBy(received: Received): unknown
}

export interface TransportOptions extends RouteOptions {
  readonly userAgent: string
  readonly headersMs: number
  readonly bodyIdleMs: number
}

export interface Transport {
  /**
   * Resolves with any status but a followed redirect. Throws {@link TransportError}; `invalid` for
   * a redirect that must not be followed; the signal's reason.
   */
  send(request: HttpRequest): Promise<HttpResponse>
  close(): Promise<void>
}

const debug = debuglog('registry/client')

const maxRedirects = 5

export function createTransport(options: TransportOptions): Transport {
  const routes = createRoutes(options)
  return {
    send: request => follow(request, hop => exchange(options, routes, hop)),
    close: async () => routes.close(),
  }
}

async function follow(
  request: HttpRequest,
  exchangeOnce: (hop: HttpRequest) => Promise<HttpResponse>,
): Promise<HttpResponse> {
  let hop = request
  for (let count = 0; ; count++) {
    const response = await exchangeOnce(hop)
    const target = redirectTarget(hop, response)
    if (target === undefined) return response
    await response[Symbol.asyncDispose]()
    if (count === maxRedirects) {
      throw new OciError('invalid', `Cannot ${request.action}: more than ${maxRedirects} redirects`)
    }
    hop = { ...hop, url: target, headers: headersFor(target, hop) }
  }
}

function headersFor(target: URL, from: HttpRequest): Readonly<Record<string, string>> {
  if (target.origin === from.url.origin) return from.headers ?? {}
  const { authorization: _, ...others } = from.headers ?? {}
  return others
}

/** 301, 302 and 303 may turn a request with a body into a GET, which no upload means. */
function redirectTarget(request: HttpRequest, response: HttpResponse): URL | undefined {
  const { status } = response
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  const isRedirect =
    status === 307 || status === 308 || (isRead && [301, 302, 303].includes(status))
  const location = response.header('location')
  if (!isRedirect || location === undefined) return undefined
  const target = resolveLocation(request.action, location, response.url)
  if (request.redirects === 'same-origin' && target.origin !== request.url.origin) {
    throw new OciError(
      'invalid',
      `Cannot ${request.action}: refusing to repeat it at "${describeUrl(target)}", where it was redirected to`,
    )
  }
  return target
}

/**
 * A `Location`, absolute or relative to `base`. Throws `invalid` when it is none, leads from https
 * to http, or to another scheme.
 */
export function resolveLocation(action: string, location: string, base: URL): URL {
  if (!URL.canParse(location, base.href)) {
    throw new OciError('invalid', `Cannot ${action}: invalid Location "${printable(location, 60)}"`)
  }
  const target = new URL(location, base)
  target.username = ''
  target.password = ''
  const isSafe =
    target.protocol === 'https:' || (target.protocol === 'http:' && base.protocol === 'http:')
  if (!isSafe) {
    throw new OciError(
      'invalid',
      `Cannot ${action}: refusing to go from ${base.protocol} to ${target.protocol} ("${describeUrl(target)}")`,
    )
  }
  return target
}

async function exchange(
  options: TransportOptions,
  routes: Routes,
  request: HttpRequest,
): Promise<HttpResponse> {
  const { url, action, signal } = request
  try {
    signal?.throwIfAborted()
    if (mustBeGuarded(options, url)) mustBePublic(action, url)
    const answer = await ask(await routes.routeFor(url), {
      url,
      method: request.method,
      headers: {
        'user-agent': options.userAgent,
        // Digests name the bytes as stored: an encoding added on the way would change them.
        'accept-encoding': 'identity',
        ...request.headers,
      },
      body: request.body,
      headersMs: request.headersMs ?? options.headersMs,
      signal,
    })
    debug('%s %s: %d', request.method, describeUrl(url), answer.message.statusCode)
    return responseOf(request, answer, options.bodyIdleMs)
  } catch (error) {
    signal?.throwIfAborted()
    throw error instanceof OciError ? error : new TransportError(action, url, error)
  }
}

function responseOf(request: HttpRequest, answer: Answer, bodyIdleMs: number): HttpResponse {
  const { action, url, signal } = request
  const { statusCode = 0, headersDistinct } = answer.message
  const headerList = (name: string) => headersDistinct[name] ?? []
  const translated = (error: unknown) =>
    signal?.aborted ? signal.reason : new TransportError(action, url, error)
  return {
    status: statusCode,
    url,
    header: name => headerList(name)[0],
    headerList,
    body: readAnswer(answer, bodyIdleMs, translated),
    take: length => {
      const taken = takeAnswer(answer, length)
      if (taken === undefined) return undefined
      return { ...taken, idleMs: bodyIdleMs, brokenBy: received => translated(causeOf(received)) }
    },
    [Symbol.asyncDispose]: () => discard(answer),
  }
}

/** As Node would have told it. */
function causeOf({ end, error }: Received): Error {
  if (end === 'source silent') return timedOut('BODY_TIMEOUT')
  return error ?? Object.assign(new Error('aborted'), { code: 'ECONNRESET' })
}

/** The whole body; throws `too-large` beyond `limit` bytes, having read no more than that. */
export async function readBody(
  { body }: HttpResponse,
  { action, limit }: { readonly action: string; readonly limit: number },
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    if (size > limit) {
      throw new OciError('too-large', `Cannot ${action}: the answer exceeds ${limit} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
