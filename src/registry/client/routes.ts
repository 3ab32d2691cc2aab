/**
 * Routes: how a URL is reached, directly or through a proxy, and the connections kept for it, one
 * pool per proxy and level of trust, made when first needed.
 */
import { Agent, type ClientRequest, request as httpRequest, type RequestOptions } from 'node:http'
import { request as httpsRequest, Agent as TlsAgent } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls, type SecureContext } from 'node:tls'
import { field } from '../../oci/json.ts'
import { lookupPublic } from './address-guard.ts'
import { type HostSet, includesHost } from './endpoint.ts'
import { type ProxySettings, proxyFor } from './proxy.ts'

export interface RouteOptions {
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

/** What of a request is the same for all to one place. */
export interface Route {
  readonly agent: Agent
  /** Begins a request for the URL. */
  request(url: URL, options: RequestOptions): ClientRequest
}

export interface Routes {
  routeFor(url: URL): Promise<Route>
  /** Drops every connection; requests still running fail. */
  close(): void
}

export function createRoutes(options: RouteOptions): Routes {
  const known = new Map<string, Promise<Route>>()
  const trustOf = trustLevels(options)

  return {
    routeFor(url) {
      const level = includesHost(options.insecure, url.host) ? 'unverified' : 'verified'
      const proxy = proxyFor(url, options.proxies ?? {})
      // A proxy looks names up by itself.
      const isGuarded = proxy === undefined && mustBeGuarded(options, url)
      const isSecure = url.protocol === 'https:'
      const key = `${level} ${isGuarded} ${isSecure} ${proxy?.href ?? 'direct'}`
      const made =
        known.get(key) ?? makeRoute(options, () => trustOf(level), { proxy, isGuarded, isSecure })
      known.set(key, made)
      return made
    },
    close() {
      const open = [...known.values()]
      known.clear()
      for (const route of open) {
        route.then(
          ({ agent }) => agent.destroy(),
          () => {},
        )
      }
    },
  }
}

/** Whether the URL's host is one that only a public address will do for. */
export function mustBeGuarded({ trusted }: Pick<RouteOptions, 'trusted'>, { host }: URL) {
  return trusted !== undefined && !trusted.includes(host)
}

interface TlsOptions {
  readonly secureContext?: SecureContext
  readonly rejectUnauthorized: boolean
}

type TrustLevel = 'verified' | 'unverified'

/** One context for all connections: parsing some hundred authorities costs more than a build. */
function trustLevels(options: RouteOptions): (level: TrustLevel) => Promise<TlsOptions> {
  const known = new Map<TrustLevel, Promise<TlsOptions>>()
  return level => {
    const made = known.get(level) ?? tlsOptions(options, level === 'verified')
    known.set(level, made)
    return made
  }
}

async function tlsOptions(options: RouteOptions, rejectUnauthorized: boolean): Promise<TlsOptions> {
  if (options.ca === undefined || options.ca.length === 0) return { rejectUnauthorized }
  const { createSecureContext, rootCertificates } = await import('node:tls')
  const ca = [...rootCertificates, ...options.ca.map(pem => Buffer.from(pem))]
  return { rejectUnauthorized, secureContext: createSecureContext({ ca }) }
}

interface RouteKind {
  readonly proxy: URL | undefined
  readonly isGuarded: boolean
  readonly isSecure: boolean
}

/** Servers close connections after as little as five seconds: what they are about to close is not used. */
const idleMs = 4000

async function makeRoute(
  options: RouteOptions,
  trust: () => Promise<TlsOptions>,
  { proxy, isGuarded, isSecure }: RouteKind,
): Promise<Route> {
  const pool = {
    keepAlive: true,
    maxSockets: options.connectionsPerHost,
    timeout: idleMs,
    ...(isGuarded ? { lookup: lookupPublic } : {}),
  }
  if (!isSecure) {
    const isPlainProxy = proxy?.protocol !== 'https:'
    const agent = isPlainProxy
      ? limited(new Agent(pool), options.connectMs)
      : limited(new TlsAgent({ ...pool, ...(await trust()) }), options.connectMs)
    return proxy === undefined
      ? { agent, request: (url, more) => httpRequest(addressOf(url, { ...more, agent })) }
      : { agent, request: (url, more) => absolute(proxy, url, { ...more, agent }) }
  }
  const tls = await trust()
  const agent = new TlsAgent({ ...pool, ...tls })
  if (proxy === undefined) limited(agent, options.connectMs)
  else tunnelled(agent, { proxy, tls, connectMs: options.connectMs })
  return { agent, request: (url, more) => httpsRequest(addressOf(url, { ...more, agent })) }
}

function addressOf({ protocol, hostname, port, pathname, search }: URL, more: RequestOptions) {
  return { ...more, protocol, ...hostOf(hostname, port), path: `${pathname}${search}` }
}

function hostOf(hostname: string, port: string) {
  const host = hostname.replace(/^\[|\]$/g, '')
  return port === '' ? { host } : { host, port: Number(port) }
}

/** Plain HTTP is sent as absolute URLs: many proxies refuse CONNECT to any port but 443. */
function absolute(proxy: URL, url: URL, more: RequestOptions): ClientRequest {
  const begin = proxy.protocol === 'https:' ? httpsRequest : httpRequest
  return begin({
    ...more,
    protocol: proxy.protocol,
    ...hostOf(proxy.hostname, proxy.port),
    path: `${url.origin}${url.pathname}${url.search}`,
    headers: { ...more.headers, host: url.host, ...loginOf(proxy) },
  })
}

function loginOf({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` }
}

type Connected = (error: Error | null, socket?: Duplex) => void

/** Node's types lack it. */
interface ConnectingAgent {
  createConnection(options: RequestOptions & TlsOptions, done?: Connected): Socket | undefined
}

/** A connection that is not there in time is given up. */
function limited<A extends Agent>(agent: A, connectMs: number): A {
  const connecting = agent as unknown as ConnectingAgent
  const create = connecting.createConnection.bind(agent)
  connecting.createConnection = (options, done) => {
    const socket = create(options, done)
    if (socket !== undefined) giveUpAfter(connectMs, socket)
    return socket
  }
  return agent
}

function giveUpAfter(ms: number, socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(notConnected()), ms)
  const stop = () => clearTimeout(timer)
  socket.once('encrypted' in socket ? 'secureConnect' : 'connect', stop).once('close', stop)
}

function notConnected(): Error {
  return Object.assign(new Error('The connection was not there in time'), {
    code: 'CONNECT_TIMEOUT',
  })
}

interface Tunnel {
  readonly proxy: URL
  readonly tls: TlsOptions
  readonly connectMs: number
}

/** Every connection goes through one that the proxy makes. */
function tunnelled(agent: TlsAgent, { proxy, tls, connectMs }: Tunnel): void {
  const begin = proxy.protocol === 'https:' ? httpsRequest : httpRequest
  const connecting = agent as unknown as ConnectingAgent
  connecting.createConnection = (options, done: Connected = () => {}) => {
    const target = `${bracketed(options.host ?? '')}:${options.port ?? 443}`
    const asking = begin({
      ...tls,
      protocol: proxy.protocol,
      ...hostOf(proxy.hostname, proxy.port),
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...loginOf(proxy) },
      agent: false,
    })
    const timer = setTimeout(() => asking.destroy(notConnected()), connectMs)
    asking.once('connect', ({ statusCode }, socket) => {
      clearTimeout(timer)
      if (statusCode !== 200) {
        socket.destroy()
        return done(new Error(`the proxy answered ${statusCode} to CONNECT ${target}`))
      }
      const { servername } = options as { servername?: string }
      // An address has no server name, and then the certificate is held against the host.
      const host = options.host ?? ''
      const secured = connectTls({ ...tls, socket, host, ...field('servername', servername) })
      giveUpAfter(connectMs, secured)
      done(null, secured)
    })
    asking.once('error', error => {
      clearTimeout(timer)
      done(error)
    })
    asking.end()
    return undefined
  }
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
