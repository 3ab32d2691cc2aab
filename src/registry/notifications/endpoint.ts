/** Whom events are sent to, and one attempt to send them some. */
import { ask, discard } from '../client/exchange.ts'
import { createRoutes } from '../client/routes.ts'
import type { EventAction, RegistryEvent } from './event.ts'
import { type EventFormat, messageOf, signatureHeaders } from './event-format.ts'

export interface Endpoint {
  readonly name: string
  readonly url: URL
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly timeoutMs: number
  /** Failures in a row after which it is left alone for `backoffMs` each time. */
  readonly threshold: number
  readonly backoffMs: number
  readonly ignoredActions: ReadonlySet<EventAction>
  readonly ignoredMediaTypes: ReadonlySet<string>
  readonly format: EventFormat
  /** Events of one message; 1 but in distribution's envelope. */
  readonly batch: number
  readonly signingKey?: Buffer
}

export function wants(
  { ignoredActions, ignoredMediaTypes }: Endpoint,
  { action, target }: Pick<RegistryEvent, 'action'> & { readonly target: { mediaType?: string } },
): boolean {
  return !ignoredActions.has(action) && !ignoredMediaTypes.has(target.mediaType ?? '')
}

export type Outcome =
  | { readonly kind: 'sent'; readonly status: number }
  | {
      readonly kind: 'failed'
      /** Absent: there was no answer. */
      readonly status?: number
      /** For the log; nothing secret. */
      readonly reason: string
      /** What the endpoint asks for. */
      readonly retryAfterMs?: number
    }

export interface Connection extends AsyncDisposable {
  /** Never throws. `events` has at least one and at most {@link Endpoint.batch}. */
  send(events: readonly RegistryEvent[], signal: AbortSignal): Promise<Outcome>
}

/** Redirects are not followed: the headers, and what they let in, are for this address alone. */
export function connectTo(endpoint: Endpoint, userAgent: string): Connection {
  const { timeoutMs, url } = endpoint
  const routes = createRoutes({ connectionsPerHost: 1, connectMs: timeoutMs })
  return {
    send: async (events, signal) => {
      const { headers, body } = messageOf(endpoint.format, events)
      const id = events[0]?.id ?? ''
      const { signingKey: key } = endpoint
      const signed = key === undefined ? {} : signatureHeaders(key, { id, body, at: new Date() })
      try {
        const answer = await ask(await routes.routeFor(url), {
          url: withoutUser(url),
          method: 'POST',
          headersMs: timeoutMs,
          signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
          headers: {
            'user-agent': userAgent,
            ...loginOf(url),
            ...lists(endpoint.headers),
            ...headers,
            ...signed,
          },
          body,
        })
        const { statusCode = 0, headers: answered } = answer.message
        await discard(answer)
        return outcomeOf(statusCode, answered['retry-after'])
      } catch (error) {
        return { kind: 'failed', reason: reasonOf(error) }
      }
    },
    [Symbol.asyncDispose]: async () => routes.close(),
  }
}

function outcomeOf(status: number, retryAfter: string | undefined): Outcome {
  if (status >= 200 && status < 300) return { kind: 'sent', status }
  const seconds = Number(retryAfter)
  const asked = Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 3600) : undefined
  return {
    kind: 'failed',
    status,
    reason: `status ${status}`,
    ...(asked === undefined ? {} : { retryAfterMs: asked * 1000 }),
  }
}

/** Of errors only the system's code: their messages may quote an address with a password in it. */
function reasonOf(error: unknown): string {
  const { name, code, cause } = error as { name?: string; code?: string; cause?: { code?: string } }
  if (name === 'TimeoutError') return 'no answer in time'
  return code ?? cause?.code ?? name ?? 'it failed'
}

function withoutUser(url: URL): URL {
  const bare = new URL(url)
  bare.username = ''
  bare.password = ''
  return bare
}

function loginOf({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

function lists(headers: Endpoint['headers']): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, values]) => [name.toLowerCase(), [...values]]),
  )
}
