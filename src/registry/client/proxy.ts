/**
 * Which proxy a request goes through, by the rules people know from curl and Go.
 *
 * NO_PROXY entries: `*`, `host`, `.suffix`, `*.suffix`, an address, a CIDR block; each may end in
 * `:port`. `host` covers its subdomains. Loopback is always direct.
 */
import { BlockList, isIP } from 'node:net'
import { OciError } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import type { Environment } from './credentials.ts'
import { isLoopback } from './endpoint.ts'

export interface ProxySettings {
  /** The values of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. */
  readonly http?: string
  readonly https?: string
  readonly all?: string
  readonly no?: string
}

/** The settings of an environment; lower-case names win, as for curl. */
export function proxySettings(env: Environment): ProxySettings {
  const value = (name: string) => env[name.toLowerCase()] || env[name] || undefined
  return {
    ...field('http', value('HTTP_PROXY')),
    ...field('https', value('HTTPS_PROXY')),
    ...field('all', value('ALL_PROXY')),
    ...field('no', value('NO_PROXY')),
  }
}

/** `undefined`: direct. Throws `invalid` for a proxy that is no http(s) URL, without quoting it. */
export function proxyFor(url: URL, settings: ProxySettings): URL | undefined {
  const own = url.protocol === 'https:' ? settings.https : settings.http
  const proxy = own || settings.all
  if (!proxy || isLoopback(url.host) || isExempt(url, settings.no ?? '')) return undefined
  return parseProxy(proxy)
}

function parseProxy(text: string): URL {
  const full = text.includes('://') ? text : `http://${text}`
  const url = URL.canParse(full) ? new URL(full) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    // The value is not quoted: it may carry a password.
    throw new OciError('invalid', 'Cannot use the proxy: expected "http://host:port"')
  }
  return url
}

function isExempt(url: URL, list: string): boolean {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some(entry => entry !== '' && entryCovers(entry, host, port))
}

function entryCovers(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true
  if (entry.includes('/')) return blockCovers(entry, host)
  const [, name = '', entryPort] = /^\[?(.+?)\]?(?::(\d+))?$/.exec(entry) ?? []
  if (isIP(entry) !== 0) return host === entry
  if (entryPort !== undefined && entryPort !== port) return false
  const suffix = name.replace(/^\*?\./, '')
  return host === suffix || host.endsWith(`.${suffix}`)
}

function blockCovers(block: string, host: string): boolean {
  const [address = '', bits = ''] = block.split('/')
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  const width = family === 'ipv6' ? 128 : 32
  if (isIP(address) === 0 || isIP(host) === 0) return false
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > width) return false
  const blocks = new BlockList()
  blocks.addSubnet(address, Number(bits), family)
  return blocks.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4')
}
