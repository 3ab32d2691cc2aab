/**
 * RegistryClient: what the functions of this folder share. A plain context: build one per program,
 * or as many as a test likes; no two share state.
 */
import { field } from '../../oci/json.ts'
import { type Authenticator, createAuthenticator } from './auth.ts'
import type { CredentialsProvider } from './credentials.ts'
import { type EndpointOptions, endpointOf, type HostSet } from './endpoint.ts'
import { offlineTransport } from './offline.ts'
import type { ProxySettings } from './proxy.ts'
import { defaultRetry, type RetryPolicy } from './retry.ts'
import { createTransport, type Transport } from './transport.ts'

export interface RegistryClient extends AsyncDisposable {
  readonly endpoints: EndpointOptions
  readonly transport: Transport
  readonly authenticator: Authenticator
  readonly retry: RetryPolicy
  readonly timeouts: Timeouts
  readonly now: () => Date
}

export interface Timeouts {
  readonly connectMs: number
  /** From the request's last byte to the answer's first. */
  readonly headersMs: number
  /** Between two pieces of a body. */
  readonly bodyIdleMs: number
}

export interface ClientOptions {
  /** `tsbuild/1.2.3`. */
  readonly userAgent: string
  readonly credentials?: CredentialsProvider
  /** See `AuthOptions.mayLogInAt`. */
  readonly mayLogInAt?: (realm: URL) => boolean
  readonly endpoints?: EndpointOptions
  readonly network?: NetworkOptions
  readonly retry?: Partial<RetryPolicy>
  /** Every request fails with `unavailable`, and says what for. */
  readonly offline?: boolean
  readonly now?: () => Date
}

export interface NetworkOptions {
  readonly proxies?: ProxySettings
  /** See `RouteOptions.ca`. */
  readonly ca?: readonly (string | Uint8Array)[]
  readonly timeouts?: Partial<Timeouts>
  readonly connectionsPerHost?: number
  /** See `RouteOptions.trusted`. */
  readonly trusted?: readonly string[]
}

const defaultTimeouts: Timeouts = { connectMs: 15_000, headersMs: 60_000, bodyIdleMs: 60_000 }
const defaultConnectionsPerHost = 16

/** Opens no connection. Dispose it to drop those it opened later. */
export function createRegistryClient(options: ClientOptions): RegistryClient {
  const { network = {}, endpoints = {} } = options
  const timeouts = { ...defaultTimeouts, ...network.timeouts }
  const transport = options.offline
    ? offlineTransport()
    : createTransport({
        userAgent: options.userAgent,
        ...timeouts,
        connectionsPerHost: network.connectionsPerHost ?? defaultConnectionsPerHost,
        ...field('proxies', network.proxies),
        ...field('ca', network.ca),
        ...field('trusted', network.trusted),
        ...(endpoints.insecure === undefined ? {} : { insecure: dialledHosts(endpoints.insecure) }),
      })
  const now = options.now ?? (() => new Date())
  const credentials = options.credentials ?? (async () => undefined)
  return {
    endpoints,
    transport,
    authenticator: createAuthenticator({
      transport,
      credentials,
      now,
      ...field('mayLogInAt', options.mayLogInAt),
    }),
    retry: { ...defaultRetry, ...options.retry },
    timeouts,
    now,
    [Symbol.asyncDispose]: () => transport.close(),
  }
}

/** Registries by name, as the hosts that URLs show. */
function dialledHosts(set: HostSet): HostSet {
  return set === 'all' ? set : set.map(registry => endpointOf(registry).host)
}

/** The same connections and rules for somebody else: nothing learned so far is used. */
export function withCredentials(
  client: RegistryClient,
  credentials: CredentialsProvider,
): RegistryClient {
  const { transport, now } = client
  return { ...client, authenticator: createAuthenticator({ transport, credentials, now }) }
}
