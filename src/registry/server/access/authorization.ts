/** The `Authorization` header. Spec: RFC 7617 (Basic), RFC 6750 (Bearer). */

export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string }
  /** There is a header, and it is nothing we know. */
  | { readonly kind: 'unreadable' }

const maxLength = 16 * 1024

export function parseAuthorization(header: string | undefined): Credentials {
  if (header === undefined) return { kind: 'none' }
  if (header.length > maxLength) return { kind: 'unreadable' }
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([A-Za-z0-9\-._~+/]+=*)$/.exec(header) ?? []
  switch (scheme.toLowerCase()) {
    case 'basic':
      return parseBasic(value)
    case 'bearer':
      return { kind: 'token', token: value }
    default:
      return { kind: 'unreadable' }
  }
}

/** The name ends at the first colon; the password may have more. */
function parseBasic(value: string): Credentials {
  const pair = Buffer.from(value, 'base64').toString('utf8')
  const at = pair.indexOf(':')
  if (at === -1) return { kind: 'unreadable' }
  return { kind: 'password', user: pair.slice(0, at), password: pair.slice(at + 1) }
}

/** Whether a password may be a token: some clients can send nothing else. */
export function isTokenLike(text: string): boolean {
  return text.length <= maxLength && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)
}
