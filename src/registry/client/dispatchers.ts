/**
 * Dispatchers: undici's connection pools, one per proxy and level of trust, made when first needed.
 *
 * undici itself is imported with the first request: it takes longer to load than most commands
 * that never talk to a registry take to run.
 */
import type { SecureContext } from 'node:tls'
import type { Dispatcher } from 'undici'
import { lookupPublic } from './address-guard.ts'
import { type HostSet, includesHost } from './endpoint.ts'
import { type ProxySettings, proxyFor } from './proxy.ts'

export interface DispatcherOptions {
  readonly proxies?: ProxySettings
  /**
   * Authorities (PEM) trusted beside Node's own list. With them, NODE_EXTRA_CA_CERTS counts only
   * if its content is among them.
   */
  readonly ca?: readonly (string | Uint8Array)[]
  /** Hosts whose certificates are not verified. */
  readonly insecure?: HostSet
  /**
   * `host[:port]`s, as URLs show them, that may be anywhere: all others must have public addresses.
   * Default: nothing is looked at.
   */
  readonly trusted?: readonly string[]
  readonly connectMs: number
  /** Open at once to one host; more requests wait. */
  readonly connectionsPerHost: number
}

export interface Dispatchers {
  dispatcherFor(url: URL): Promise<Dispatcher>
  /** Drops every connection; requests still running fail. */
  close(): Promise<void>
}

export function createDispatchers(options: DispatcherOptions): Dispatchers {
  const pools = new Map<string, Promise<Dispatcher>>()
  const trustOf = trustLevels(options)

  return {
    dispatcherFor(url) {
      const level = includesHost(options.insecure, url.host) ? 'unverified' : 'verified'
      const proxy = proxyFor(url, options.proxies ?? {})
      // A proxy looks names up by itself.
      const isGuarded = proxy === undefined && mustBeGuarded(options, url)
      const key = `${level} ${isGuarded} ${proxy?.href ?? 'direct'}`
      const known = pools.get(key)
      if (known !== undefined) return known
      const made = makeDispatcher(options, trustOf(level), { proxy, isGuarded })
      pools.set(key, made)
      return made
    },
    async close() {
      const open = [...pools.values()]
      pools.clear()
      await Promise.all(open.map(async dispatcher => (await dispatcher).destroy()))
    },
  }
}

/** Whether the URL's host is one that only a public address will do for. */
export function mustBeGuarded({ trusted }: Pick<DispatcherOptions, 'trusted'>, { host }: URL) {
  return trusted !== undefined && !trusted.includes(host)
}

interface TlsOptions {
  readonly secureContext?: SecureContext
  readonly rejectUnauthorized: boolean
  readonly timeout: number
}

type TrustLevel = 'verified' | 'unverified'

/** One context for all connections: parsing some hundred authorities costs more than a build. */
function trustLevels(options: DispatcherOptions): (level: TrustLevel) => Promise<TlsOptions> {
  const known = new Map<TrustLevel, Promise<TlsOptions>>()
  return level => {
    const made = known.get(level) ?? tlsOptions(options, level === 'verified')
    known.set(level, made)
    return made
  }
}

async function tlsOptions(
  options: DispatcherOptions,
  rejectUnauthorized: boolean,
): Promise<TlsOptions> {
  const base = { rejectUnauthorized, timeout: options.connectMs }
  if (options.ca === undefined || options.ca.length === 0) return base
  const { createSecureContext, rootCertificates } = await import('node:tls')
  const ca = [...rootCertificates, ...options.ca.map(pem => Buffer.from(pem))]
  return { ...base, secureContext: createSecureContext({ ca }) }
}

async function makeDispatcher(
  options: DispatcherOptions,
  trust: Promise<TlsOptions>,
  { proxy, isGuarded }: { readonly proxy: URL | undefined; readonly isGuarded: boolean },
): Promise<Dispatcher> {
  const [tls, { Agent, ProxyAgent }] = await Promise.all([trust, import('undici')])
  const connections = options.connectionsPerHost
  if (proxy === undefined) {
    const connect = isGuarded ? { ...tls, lookup: lookupPublic } : tls
    return new Agent({ connections, connect })
  }
  return new ProxyAgent({
    uri: proxy.href,
    connections,
    // Plain HTTP is sent as absolute URLs: many proxies refuse CONNECT to any port but 443.
    proxyTunnel: false,
    requestTls: tls,
    proxyTls: tls,
  })
}
