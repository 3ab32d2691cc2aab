import { isIP } from 'node:net'
import type { ContainerExtras, ContainerOptions } from '../../../layerfs/runtime/container-spec.ts'
import type { PublishedPort, SandboxMount } from '../../../layerfs/sandbox/spec.ts'
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import { parseAs, parseSize } from '../../flags/flag-values.ts'
import type { EnvironmentLookup } from '../../flags/flags.ts'
import { healthcheckFrom } from './health-options.ts'
import { linesOf } from './lines-file.ts'
import { parseMount } from './mount-options.ts'
import { networkMode, sharedNamespaces } from './namespace-options.ts'
import { parsePublish } from './publish-options.ts'
import { ioOptions, limitOptions, resourceOptions } from './resource-options.ts'
import type { RunFlags } from './run-flags.ts'
import { securityOptions } from './security-options.ts'
import { mountsOf, parseVolume } from './volume-options.ts'

/** Throws a usage error that quotes the value, and ENOENT for a missing environment file. */
export async function containerOptions(
  flags: RunFlags,
  command: readonly string[],
  lookup: EnvironmentLookup,
): Promise<ContainerOptions> {
  const { entrypoint, workdir, hostname } = flags
  const healthcheck = healthcheckFrom(flags)
  return {
    command,
    ...(entrypoint === undefined ? {} : { entrypoint: entrypoint === '' ? [] : [entrypoint] }),
    env: await environmentOf(flags, lookup),
    ...(workdir === undefined ? {} : { workingDirectory: workdir }),
    ...(hostname === undefined ? {} : { hostname: parseHostname(hostname) }),
    network: networkMode(flags),
    ...mountsOf([
      ...(flags.ipc === 'host' ? [hostSharedMemory] : []),
      ...flags.volume.map(parseVolume),
      ...flags.tmpfs.map(parseTmpfs),
      ...flags.mount.map(parseMount),
    ]),
    terminal: flags.tty,
    readOnly: flags['read-only'],
    security: await securityOptions(flags),
    limits: { ...limitOptions(flags), ...ioOptions(flags) },
    extraHosts: flags['add-host'].map(parseExtraHost),
    dns: flags.dns.map(parseAddress),
    shmSize: flags['shm-size'],
    ...(healthcheck === undefined ? {} : { healthcheck }),
    extras: extrasOf(flags),
  }
}

function extrasOf(flags: RunFlags): ContainerExtras {
  const { domainname, hostname, uts, 'dns-search': dnsSearch, 'dns-option': dnsOptions } = flags
  if (uts === 'host' && (hostname ?? domainname) !== undefined) {
    throw usageError('Cannot use flag --uts host with a host or domain name of the container')
  }
  if (networkMode(flags) === 'container' && (hostname ?? domainname) !== undefined) {
    throw usageError('Cannot name a container that is in the network of another: it has its name')
  }
  return {
    ...resourceOptions(flags),
    init: flags.init,
    ports: publishedPorts(flags),
    shared: sharedNamespaces(flags),
    dnsSearch: dnsSearch.map(parseWord),
    dnsOptions: dnsOptions.map(parseWord),
    ...(domainname === undefined ? {} : { domainname: parseHostname(domainname) }),
  }
}

function publishedPorts(flags: RunFlags): PublishedPort[] {
  const ports = flags.publish.flatMap(parsePublish)
  const network = networkMode(flags)
  if (network === 'bridge' || (ports.length === 0 && !flags['publish-all'])) return ports
  throw usageError(
    `Cannot publish ports with --network ${network === 'container' ? 'container:NAME' : network}`,
    network === 'host' ? 'The ports of the container are those of this machine' : undefined,
  )
}

/** Of /etc/resolv.conf, where white space separates words. */
function parseWord(text: string): string {
  if (/^[^\s\0;#]+$/.test(text)) return text
  throw usageError(`Cannot use "${printable(text)}" in /etc/resolv.conf: expected one word`)
}

/** Where the host's processes share memory by name. */
const hostSharedMemory: SandboxMount = {
  kind: 'bind',
  source: '/dev/shm',
  target: '/dev/shm',
  readOnly: false,
  recursive: false,
}

/** Files first, then `--env`; a name without `=` is passed on from our own environment. */
export async function environmentOf(
  flags: Pick<RunFlags, 'env' | 'env-file'>,
  lookup: EnvironmentLookup,
): Promise<string[]> {
  const files = await Promise.all(flags['env-file'].map(linesOf))
  return [...files.flat(), ...flags.env].flatMap(word => {
    const name = word.split('=', 1)[0] ?? ''
    if (name === '' || /[\s\0]/.test(name)) {
      throw usageError(`Cannot use environment variable "${printable(word)}": no valid name`)
    }
    if (word.includes('=')) return [word]
    const value = lookup(word)
    return value === undefined ? [] : [`${word}=${value}`]
  })
}

/** `TARGET[:size=64m,mode=1777,…]`; other options of tmpfs that change nothing here are accepted. */
function parseTmpfs(text: string): SandboxMount {
  const colon = text.indexOf(':')
  const target = colon === -1 ? text : text.slice(0, colon)
  const options = colon === -1 ? [] : text.slice(colon + 1).split(',')
  const refuse = (reason: string) => usageError(`Cannot use tmpfs "${printable(text)}": ${reason}`)
  if (!target.startsWith('/') || target === '/') throw refuse('expected an absolute path')
  let size: number | undefined
  let mode = 0o1777
  for (const option of options) {
    const [name = '', value = ''] = option.split('=')
    if (name === 'size') size = parseAs(`tmpfs "${printable(text)}"`, () => parseSize(value))
    else if (name === 'mode' && /^[0-7]{1,4}$/.test(value)) mode = Number.parseInt(value, 8)
    else if (!/^(|rw|noexec|nosuid|nodev|exec)$/.test(option)) {
      throw refuse(`unknown option "${printable(option)}"`)
    }
  }
  return { kind: 'tmpfs', target, mode, ...(size === undefined ? {} : { size }) }
}

/** `name:address`, `name=address`, an IPv6 address with or without brackets. */
export function parseExtraHost(text: string): ContainerOptions['extraHosts'][number] {
  const match = /^([^:=]+)[:=]\[?([^\]]+)\]?$/.exec(text)
  const [, name = '', address = ''] = match ?? []
  if (name === '' || /\s/.test(name) || isIP(address) === 0) {
    throw usageError(`Cannot use host "${printable(text)}": expected NAME:ADDRESS`)
  }
  return { name, address }
}

function parseAddress(text: string): string {
  if (isIP(text) === 0)
    throw usageError(`Cannot use name server "${printable(text)}": no IP address`)
  return text
}

/** The kernel's limit and RFC 1123's letters. */
function parseHostname(text: string): string {
  if (text.length <= 64 && /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/.test(text)) return text
  throw usageError(
    `Cannot use host name "${printable(text)}": expected up to 64 letters, digits, . and -`,
  )
}
