/**
 * Endpoint: where a registry's name is dialled, and how far its certificate must be trusted.
 *
 * Plain HTTP is chosen by itself for loopback only, as BuildKit and oras do: nobody between the
 * two ends can read or change the bytes there.
 */
import { isIPv4 } from 'node:net'
import { OciError, printable } from '../../oci/errors.ts'
import { defaultRegistry } from '../../oci/reference.ts'

/** Registries by `host[:port]` as in references, or every registry. */
export type HostSet = 'all' | readonly string[]

export interface EndpointOptions {
  /** Dialled with `http:`. */
  readonly plainHttp?: HostSet
  /** Dialled with `https:` although they are loopback. */
  readonly https?: HostSet
  /** Certificates are not verified. */
  readonly insecure?: HostSet
}

/** The address of Docker Hub's registry, which is not at its name. */
const dockerHubHost = 'registry-1.docker.io'

/** The base URL of a registry, without a path. Throws `invalid` for what is no `host[:port]`. */
export function endpointOf(registry: string, options: EndpointOptions = {}): URL {
  const host = registry === defaultRegistry ? dockerHubHost : registry
  const scheme = isPlainHttp(registry, options) ? 'http' : 'https'
  const text = `${scheme}://${host}/`
  if (/[/?#@\\\s]/.test(registry) || !URL.canParse(text)) {
    throw new OciError('invalid', `Cannot dial registry "${printable(registry)}": no host[:port]`)
  }
  return new URL(text)
}

function isPlainHttp(registry: string, options: EndpointOptions): boolean {
  if (includesHost(options.plainHttp, registry)) return true
  return isLoopback(registry) && !includesHost(options.https, registry)
}

export function includesHost(set: HostSet | undefined, host: string): boolean {
  if (set === undefined) return false
  return set === 'all' || set.includes(host)
}

/** Whether `host[:port]` can only be this machine: `127.0.0.0/8`, `[::1]`, `localhost`, below it. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '').toLowerCase()
  if (name === 'localhost' || name.endsWith('.localhost') || name === '[::1]') return true
  return isIPv4(name) && name.startsWith('127.')
}
