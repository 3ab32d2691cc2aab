/**
 * The three files of /etc that belong to the container and not to its image, as Docker makes them.
 */
import { readFileSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import type { SandboxSpec } from './spec.ts'

const standardHosts: readonly string[] = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::0\tip6-localnet',
  'ff00::0\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
]

/**
 * The container's /etc/hosts: the host's when it has the host's network. A bridge's address is
 * added by the native program once it is known.
 */
export function hostsFile(
  spec: Pick<SandboxSpec, 'hostname' | 'domainname' | 'extraHosts' | 'network'>,
  readHost: (path: string) => string = readOrNothing,
): string {
  const extra = lines(spec.extraHosts.map(({ name, address }) => `${address}\t${name}`))
  if (spec.network === 'host') return endLine(readHost('/etc/hosts')) + extra
  const own = spec.network === 'none' ? [`127.0.1.1\t${hostNames(spec)}`] : []
  return lines([...standardHosts, ...own]) + extra
}

/** The full name first, as resolvers ask for the canonical one. */
export function hostNames({
  hostname,
  domainname,
}: Pick<SandboxSpec, 'hostname' | 'domainname'>): string {
  return domainname === undefined ? hostname : `${hostname}.${domainname} ${hostname}`
}

function endLine(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}

export function hostnameFile(spec: Pick<SandboxSpec, 'hostname'>): string {
  return lines([spec.hostname])
}

const stubResolver = '/run/systemd/resolve/resolv.conf'
const publicServers: readonly string[] = ['8.8.8.8', '8.8.4.4']

/**
 * The container's /etc/resolv.conf: the host's, with `dns`, `dnsSearch` and `dnsOptions` in place
 * of its lines when given. A server on the host's loopback does not answer in another network: then
 * the servers behind systemd-resolved, and without any, public ones. With the host's network nothing
 * changes. A search domain `.` means none.
 */
export function resolvConf(
  spec: Pick<SandboxSpec, 'network' | 'dns' | 'dnsSearch' | 'dnsOptions'>,
  readHost: (path: string) => string = readOrNothing,
): string {
  const { dnsSearch = [], dnsOptions = [] } = spec
  const searched = dnsSearch.filter(domain => domain !== '.')
  let text = withReachableServers(spec, readHost)
  if (dnsSearch.length > 0) text = without(text, 'search|domain')
  if (searched.length > 0) text += lines([`search ${searched.join(' ')}`])
  if (dnsOptions.length > 0) {
    text = without(text, 'options') + lines([`options ${dnsOptions.join(' ')}`])
  }
  return text
}

function withReachableServers(
  { network, dns }: Pick<SandboxSpec, 'network' | 'dns'>,
  readHost: (path: string) => string,
): string {
  const host = endLine(readHost('/etc/resolv.conf'))
  if (dns.length > 0) return withServers(host, dns)
  if (network === 'host') return host
  const reachable = servers(host).filter(server => !isLoopback(server))
  if (reachable.length > 0) return withServers(host, reachable)
  const behind = readHost(stubResolver)
  const upstream = servers(behind).filter(server => !isLoopback(server))
  if (upstream.length > 0) return withServers(behind, upstream)
  return withServers(host, publicServers)
}

function without(text: string, keywords: string): string {
  const keyword = new RegExp(`^\\s*(${keywords})(\\s|$)`)
  return lines(text.split('\n').filter(line => line !== '' && !keyword.test(line)))
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'EACCES')) return ''
    throw error
  }
}

function servers(text: string): string[] {
  return text.split('\n').flatMap(line => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
}

function isLoopback(server: string): boolean {
  return server.startsWith('127.') || server === '::1'
}

function withServers(text: string, list: readonly string[]): string {
  return lines(list.map(server => `nameserver ${server}`)) + without(text, 'nameserver')
}

function lines(list: readonly string[]): string {
  return list.map(line => `${line}\n`).join('')
}
