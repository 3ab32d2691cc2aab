/** Who a client certificate is, once its chain was verified. Spec: RFC 5280 §4.2.1.6. */
import type { ClientCertificate } from './access.ts'
import type { Identity } from './identity.ts'

/**
 * The first of: an address (SPIFFE), a host's name, a mail address, the common name. `undefined` for
 * a certificate that names nobody. Its organizations are its groups.
 */
export function identityOfCertificate(certificate: ClientCertificate): Identity | undefined {
  const names = alternativeNames(certificate.alternativeNames ?? '')
  const name =
    names.get('URI') ?? names.get('DNS') ?? names.get('email') ?? certificate.commonName ?? ''
  if (!/^[\x21-\x7e]{1,255}$/.test(name)) return undefined
  return {
    kind: 'certificate',
    name: `cert:${name}`,
    groups: certificate.organizations.map(organization => `cert:${organization}`),
  }
}

/**
 * The first of each kind. Node quotes a value that has a comma, so that it cannot look like two; such
 * values are nobody's name.
 */
function alternativeNames(text: string): Map<string, string> {
  const names = new Map<string, string>()
  for (const part of text.match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? []) {
    const [, kind, value] = /^ ?([A-Za-z ]+):([^"]*)$/.exec(part) ?? []
    if (kind !== undefined && value !== undefined && !names.has(kind)) names.set(kind, value)
  }
  return names
}
