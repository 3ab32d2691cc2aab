/** Ports of this machine that lead to a container's: `--publish` as docker spells it. */
import { isIP } from 'node:net'
import type { PublishedPort } from '../../../layerfs/sandbox/spec.ts'
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'

/**
 * `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `[::1]:8080:80`, `127.0.0.1::80`, `8000-8003:80-83`;
 * without a port of this machine any that is free, without an address all of IPv4 and IPv6. Throws a
 * usage error that quotes the text.
 */
export function parsePublish(text: string): PublishedPort[] {
  const refuse = (reason: string) => usageError(`Cannot publish "${printable(text)}": ${reason}`)
  const [numbers = '', protocol = 'tcp', ...rest] = text.split('/')
  if (rest.length > 0) throw refuse('expected [IP:]HOST:CONTAINER[/PROTOCOL]')
  if (protocol !== 'tcp' && protocol !== 'udp') throw refuse('the protocol is tcp or udp')
  const { address, rest: numbersOnly } = splitAddress(numbers, refuse)
  const [container = '', host = '', ...more] = numbersOnly.split(':').reverse()
  if (more.length > 0) throw refuse('expected [IP:]HOST:CONTAINER[/PROTOCOL]')
  const ports = parseRange(container, refuse)
  const hostPorts = host === '' ? ports.map(() => 0) : parseRange(host, refuse)
  if (hostPorts.length !== ports.length) throw refuse('the ranges differ in length')
  if (ports.includes(0)) throw refuse('a container has no port 0')
  return ports.flatMap((port, index) =>
    onAddress(address, { hostPort: hostPorts[index] ?? 0, port, protocol }),
  )
}

/** `[::1]:8080:80`, `127.0.0.1:8080:80`; without an address it is `undefined`. */
function splitAddress(
  text: string,
  refuse: (reason: string) => Error,
): { readonly address: string | undefined; readonly rest: string } {
  const [, ipv6, ofIpv6 = ''] = /^\[([^\]]*)\]:(.*)$/.exec(text) ?? []
  if (ipv6 !== undefined) {
    if (isIP(ipv6) !== 6) throw refuse('the address is no IPv6 address')
    return { address: ipv6, rest: ofIpv6 }
  }
  const [, ipv4, ofIpv4 = ''] = /^([^:]*):([^:]*:.*)$/.exec(text) ?? []
  if (ipv4 === undefined || ipv4 === '')
    return { address: undefined, rest: ipv4 === '' ? ofIpv4 : text }
  if (isIP(ipv4) !== 4) throw refuse('the address is no IPv4 address')
  return { address: ipv4, rest: ofIpv4 }
}

/** On all of this machine's when none is named. */
function onAddress(
  address: string | undefined,
  rest: Omit<PublishedPort, 'hostAddress'>,
): PublishedPort[] {
  if (address !== undefined) return [{ hostAddress: address, ...rest }]
  return [
    { hostAddress: '0.0.0.0', ...rest },
    { hostAddress: '::', ...rest, isTwin: true },
  ]
}

function parseRange(text: string, refuse: (reason: string) => Error): number[] {
  const [, first = '', last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? []
  const [from, to] = [Number(first), Number(last)]
  if (first === '' || to > 65_535 || from > to) throw refuse('expected ports from 0 to 65535')
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

/** What an image exposes (`80/tcp`), each at any free port. Others are left out. */
export function exposedPorts(exposed: readonly string[]): PublishedPort[] {
  return exposed.flatMap(text => {
    const [, port = '', protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? []
    const number = Number(port)
    if (number < 1 || number > 65_535) return []
    return onAddress(undefined, {
      ...{ hostPort: 0, port: number },
      protocol: protocol === 'udp' ? 'udp' : 'tcp',
    })
  })
}

/** `--expose`: `80`, `80/udp`, `8000-8003`, each as an image says it. Throws a usage error. */
export function exposedRange(text: string): string[] {
  const refuse = (reason: string) => usageError(`Cannot expose "${printable(text)}": ${reason}`)
  const [numbers = '', protocol = 'tcp', ...rest] = text.split('/')
  if (rest.length > 0 || !/^(tcp|udp)$/.test(protocol)) throw refuse('the protocol is tcp or udp')
  return parseRange(numbers, refuse).map(port => `${port}/${protocol}`)
}

/** As docker lists them: `0.0.0.0:8080->80/tcp`. */
export function formatPort(port: PublishedPort): string {
  return `${formatHostPort(port)}->${port.port}/${port.protocol}`
}

/** `0.0.0.0:8080`, `[::1]:8080`. */
export function formatHostPort({ hostAddress, hostPort }: PublishedPort): string {
  return `${hostAddress.includes(':') ? `[${hostAddress}]` : hostAddress}:${hostPort}`
}
