/**
 * An upstream: a registry elsewhere, whose repositories this one shows below a prefix, or in the
 * place of its own.
 *
 * 1. Its credentials go to its own host, and to the token server that is known or configured for it.
 * 2. Where others point (redirects, token servers), only public addresses are gone to, and hosts of
 *    the configuration.
 * 3. While it is in trouble it is left alone for a time: who has a copy uses that.
 */
import { OciError } from '../../../oci/errors.ts'
import { field } from '../../../oci/json.ts'
import { defaultRegistry, type RepositoryName } from '../../../oci/reference.ts'
import { createRegistryClient, type RegistryClient } from '../../client/client.ts'
import type { Credentials } from '../../client/credentials.ts'
import type { ProxySettings } from '../../client/proxy.ts'
import type { Repository } from '../../client/request.ts'

export interface UpstreamSettings {
  /** Of the repositories that are the upstream's; empty: of all that are below no other prefix. */
  readonly prefix: string
  /** Its path, if any, is the beginning of the names of its repositories. */
  readonly url: URL
  /** Asked each time that something is logged in to. */
  readonly credentials?: (() => Promise<Credentials>) | undefined
  /** `host[:port]` of a token server that the credentials are for too. */
  readonly tokenServer?: string | undefined
  /** `host[:port]`s that blobs may be redirected to although they are in a private network. */
  readonly redirectHosts: readonly string[]
  /** How long a tag is believed before it is asked for again. */
  readonly tagTtlMs: number
  /** How long what there was not is not asked for again. */
  readonly missTtlMs: number
  /** How long what nobody uses is kept; `Infinity`: for good. */
  readonly keepMs: number
}

export interface NetworkSettings {
  readonly userAgent: string
  readonly proxies?: ProxySettings | undefined
  /** Authorities (PEM) trusted beside Node's own list. */
  readonly ca?: readonly Uint8Array[] | undefined
  readonly timeouts?: Partial<UpstreamTimeouts>
}

export interface UpstreamTimeouts {
  readonly connectMs: number
  readonly headersMs: number
  readonly bodyIdleMs: number
  /** After which a client that waits for a tag to be checked gets the copy that is there. */
  readonly staleAfterMs: number
}

export interface Upstream extends AsyncDisposable {
  readonly settings: UpstreamSettings
  /** `registry-1.docker.io` is `docker.io`: as references, mirrors' `ns` and messages name it. */
  readonly name: string
  readonly client: RegistryClient
  readonly staleAfterMs: number
  readonly trouble: Trouble
}

const defaultTimeouts: UpstreamTimeouts = {
  connectMs: 5_000,
  headersMs: 15_000,
  bodyIdleMs: 30_000,
  staleAfterMs: 5_000,
}

const hubHosts = ['docker.io', 'index.docker.io', 'registry-1.docker.io']

/** Token servers that are not where their registry is, as everybody knows. */
const knownTokenServers: Readonly<Record<string, string>> = {
  'registry-1.docker.io': 'auth.docker.io',
  'registry.gitlab.com': 'gitlab.com',
}

export function openUpstream(settings: UpstreamSettings, network: NetworkSettings): Upstream {
  const { url, credentials } = settings
  const name = hubHosts.includes(url.host) ? defaultRegistry : url.host
  const host = name === defaultRegistry ? 'registry-1.docker.io' : url.host
  const tokenServers = [host, settings.tokenServer, knownTokenServers[host]]
  const { staleAfterMs, ...timeouts } = { ...defaultTimeouts, ...network.timeouts }
  const client = createRegistryClient({
    userAgent: network.userAgent,
    ...(credentials === undefined ? {} : { credentials }),
    mayLogInAt: realm => tokenServers.includes(realm.host),
    endpoints: url.protocol === 'http:' ? { plainHttp: [name] } : { https: [name] },
    network: {
      timeouts,
      trusted: [host, ...field1(settings.tokenServer), ...settings.redirectHosts],
      ...field('proxies', network.proxies),
      ...field('ca', network.ca),
    },
    // A client waits meanwhile, and tries again by itself.
    retry: { attempts: 3, baseMs: 200, maxMs: 1000, maxRetryAfterMs: 1000 },
  })
  return {
    settings,
    name,
    client,
    staleAfterMs,
    trouble: new Trouble(() => client.now().getTime()),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}

function field1(text: string | undefined): string[] {
  return text === undefined ? [] : [text]
}

/** What the upstream calls the repository that is `repository` here. */
export function remoteRepository(
  { settings: { prefix, url }, name }: Upstream,
  repository: string,
): Repository {
  const rest = prefix === '' ? repository : repository.slice(prefix.length + 1)
  const path = [...url.pathname.split('/').filter(Boolean), rest].join('/')
  // Docker Hub's images without a name of their maker are those of `library`.
  const isOfficial = name === defaultRegistry && !path.includes('/')
  return { registry: name, repository: (isOfficial ? `library/${path}` : path) as RepositoryName }
}

/** For how long an upstream is left alone, and why. */
export class Trouble {
  readonly #now: () => number
  #until = 0
  #error: unknown

  constructor(now: () => number) {
    this.#now = now
  }

  begin(error: unknown, ms: number): void {
    this.#until = this.#now() + ms
    this.#error = error
  }

  end(): void {
    this.#until = 0
  }

  /** `undefined` when there is none. */
  get current(): { readonly error: unknown; readonly leftMs: number } | undefined {
    const leftMs = this.#until - this.#now()
    return leftMs > 0 ? { error: this.#error, leftMs } : undefined
  }
}

/** `promise`, or `unavailable` after `ms`; what was begun goes on. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new OciError('unavailable', `Cannot ${what}: no answer within ${ms / 1000} s`)
    timer = setTimeout(() => reject(error), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
