/**
 * What a connection tells of the client at its other end, and a proxy of the operator's of the client
 * at its own.
 *
 * 1. Nobody is believed but proxies that the operator named: `X-Forwarded-For` and `X-Forwarded-Proto`
 *    of anybody else are what any client may write.
 * 2. `X-Forwarded-For` is read from its end, where our own proxy wrote: the first address that is no
 *    proxy of ours is the client's. What is left of it is the client's own word.
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { type PeerCertificate, TLSSocket } from 'node:tls'
import type { Client, ClientCertificate } from './access/access.ts'

/** Whether a proxy of the operator's has this address. */
export type IsProxy = (address: string | undefined) => boolean

export function clientOf({ headers, socket }: IncomingMessage, isProxy: IsProxy): Client {
  const isEncrypted = socket instanceof TLSSocket
  const client: Client = {
    connection: socket,
    header: name => {
      const value = headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    remote: socket.remoteAddress,
    port: socket.remotePort,
    isEncrypted,
    certificate: isEncrypted && socket.authorized ? certificateOf(socket) : undefined,
  }
  return isProxy(client.remote) ? { ...client, ...forwarded(client, isProxy) } : client
}

/** What the proxy at the other end says; of what it does not say, the connection's. */
function forwarded(client: Client, isProxy: IsProxy): Partial<Client> {
  const remote = originOf(client.header('x-forwarded-for'), isProxy)
  const scheme = client.header('x-forwarded-proto')?.split(',').at(-1)?.trim().toLowerCase()
  return {
    ...(remote === undefined ? {} : { remote, port: undefined }),
    ...(scheme === 'https' || scheme === 'http' ? { isEncrypted: scheme === 'https' } : {}),
  }
}

/** The nearest address that is no proxy's, else the farthest there is before one that is none. */
function originOf(chain: string | undefined, isProxy: IsProxy): string | undefined {
  let origin: string | undefined
  for (const entry of (chain ?? '').split(',').toReversed()) {
    const address = addressIn(entry.trim())
    if (address === undefined) return origin
    origin = address
    if (!isProxy(address)) return origin
  }
  return origin
}

/** Some write the port too: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function addressIn(entry: string): string | undefined {
  const bare = /^\[([0-9a-f:.]+)\](?::\d{1,5})?$/i.exec(entry) ?? /^([0-9.]+):\d{1,5}$/.exec(entry)
  const address = bare?.[1] ?? entry
  // A zone means something on the proxy's machine alone.
  return isIP(address) === 0 || address.includes('%') ? undefined : address
}

/** Read once per connection: a request on it has no other. */
const known = new WeakMap<TLSSocket, ClientCertificate>()

function certificateOf(socket: TLSSocket): ClientCertificate {
  const found = known.get(socket)
  if (found !== undefined) return found
  const { subject, subjectaltname }: Partial<PeerCertificate> = socket.getPeerCertificate()
  const organizations: unknown = subject?.O
  const certificate: ClientCertificate = {
    commonName: typeof subject?.CN === 'string' ? subject.CN : undefined,
    alternativeNames: subjectaltname,
    organizations: [organizations].flat().filter(name => typeof name === 'string'),
  }
  known.set(socket, certificate)
  return certificate
}
