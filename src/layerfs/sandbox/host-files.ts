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
  spec: Pick<SandboxSpec, 'hostname' | 'extraHosts' | 'network'>,
  readHost: (path: string) => string = readOrNothing,
): string {
  const extra = lines(spec.extraHosts.map(({ name, address }) => `${address}\t${name}`))
  if (spec.network === 'host') return endLine(readHost('/etc/hosts')) + extra
  const own = spec.network === 'none' ? [`127.0.1.1\t${spec.hostname}`] : []
  return lines([...standardHosts, ...own]) + extra
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
 * The container's /etc/resolv.conf: the host's, with `dns` in place of its servers when given. A
 * server on the host's loopback does not answer in another network: then the servers behind
 * systemd-resolved, and without any, public ones. With the host's network nothing changes.
 */
export function resolvConf(
  spec: Pick<SandboxSpec, 'network' | 'dns'>,
  readHost: (path: string) => string = readOrNothing,
): string {
  const host = readHost('/etc/resolv.conf')
  if (spec.dns.length > 0) return withServers(host, spec.dns)
  if (spec.network === 'host') return host
  const reachable = servers(host).filter(server => !isLoopback(server))
  if (reachable.length > 0) return withServers(host, reachable)
  const behind = readHost(stubResolver)
  const upstream = servers(behind).filter(server => !isLoopback(server))
  if (upstream.length > 0) return withServers(behind, upstream)
  return withServers(host, publicServers)
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
  const others = text.split('\n').filter(line => line !== '' && !/^\s*nameserver(\s|$)/.test(line))
  return lines([...list.map(server => `nameserver ${server}`), ...others])
}

function lines(list: readonly string[]): string {
  return list.map(line => `${line}\n`).join('')
}
