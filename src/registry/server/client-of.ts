/** What a connection tells of the client at its other end. */
import type { IncomingMessage } from 'node:http'
import { type PeerCertificate, TLSSocket } from 'node:tls'
import type { Client, ClientCertificate } from './access/access.ts'

export function clientOf({ headers, socket }: IncomingMessage): Client {
  const isEncrypted = socket instanceof TLSSocket
  return {
    header: name => {
      const value = headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    remote: socket.remoteAddress,
    port: socket.remotePort,
    isEncrypted,
    certificate: isEncrypted && socket.authorized ? certificateOf(socket) : undefined,
  }
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
