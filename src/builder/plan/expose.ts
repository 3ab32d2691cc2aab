/**
 * EXPOSE (I09): `port[-port][/protocol]`, and the `ip:host:container` that is tolerated.
 */
import { isIP } from 'node:net'
import { DockerfileError } from '../dockerfile/error.ts'
import { goQuote } from '../dockerfile/go-quote.ts'

export interface ExposedPorts {
  /** `80/tcp`, one per port of a range. */
  readonly ports: readonly string[]
  readonly hasUpperCaseProtocol: boolean
  readonly hasHostPart: boolean
}

/** Throws DockerfileError. */
export function parseExposedPort(text: string): ExposedPorts {
  const { ip, hostPort, rest } = splitParts(text)
  const [containerPort = '', protocol = ''] = rest.split(/\/(.*)/s)
  if (containerPort === '')
    throw new DockerfileError(`invalid port: ${goQuote(text)}: no port specified`)
  if (!/^(?:tcp|udp|sctp)?$/i.test(protocol)) {
    throw new DockerfileError(`invalid port: ${goQuote(text)}: invalid proto: ${protocol}`)
  }
  const address = ip.startsWith('[') && ip.endsWith(']') ? ip.slice(1, -1) : ip
  if (address !== '' && isIP(address) === 0) {
    throw new DockerfileError(`invalid IP address: ${address}`)
  }
  const container = parseRange(containerPort)
  if (container === undefined) throw new DockerfileError(`invalid containerPort: ${containerPort}`)
  if (hostPort !== '') checkHostPort(hostPort, containerPort, container)
  const name = (protocol === '' ? 'tcp' : protocol).toLowerCase()
  const count = container.last - container.first + 1
  return {
    ports: Array.from({ length: count }, (_, index) => `${container.first + index}/${name}`),
    hasUpperCaseProtocol: protocol !== protocol.toLowerCase(),
    hasHostPart: ip !== '' || hostPort !== '',
  }
}

interface PortRange {
  readonly first: number
  readonly last: number
}

function splitParts(text: string) {
  const parts = text.split(':')
  return {
    ip: parts.slice(0, -2).join(':'),
    hostPort: parts.at(-2) ?? '',
    rest: parts.at(-1) ?? '',
  }
}

function checkHostPort(hostPort: string, containerPort: string, container: PortRange): void {
  const host = parseRange(hostPort)
  if (host === undefined) throw new DockerfileError(`invalid hostPort: ${hostPort}`)
  const isRange = container.last !== container.first
  if (isRange && container.last - container.first !== host.last - host.first) {
    throw new DockerfileError(
      `invalid ranges specified for container and host Ports: ${containerPort} and ${hostPort}`,
    )
  }
}

function parseRange(text: string): PortRange | undefined {
  const dash = text.indexOf('-')
  const first = parsePort(dash === -1 ? text : text.slice(0, dash))
  const last = dash === -1 ? first : parsePort(text.slice(dash + 1))
  return first === undefined || last === undefined || last < first ? undefined : { first, last }
}

function parsePort(text: string): number | undefined {
  const port = /^\+?\d+$/.test(text) ? Number(text) : Number.NaN
  return port <= 65_535 ? port : undefined
}
