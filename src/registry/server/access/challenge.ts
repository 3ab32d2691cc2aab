/** `WWW-Authenticate`: what a client is asked for. Spec: RFC 9110 §11.6.1, RFC 6750 §3. */
import type { Client } from './access.ts'
import type { Wanted } from './decide.ts'

export interface ChallengeOptions {
  /** What is logged in to, in a password prompt and in tokens. */
  readonly realm: string
  /** Where clients reach us; absent: at the host that they say they asked. */
  readonly externalUrl?: URL
  /** A token server elsewhere, whose tokens the policy believes; absent: our own. */
  readonly tokenUrl?: URL
}

export interface BearerProblem {
  readonly wanted: Wanted & { readonly source?: string | undefined }
  readonly error?: 'invalid_token' | 'insufficient_scope'
}

export function basicChallenge({ realm }: ChallengeOptions): string {
  return `Basic realm=${quoted(realm)}, charset="UTF-8"`
}

export function bearerChallenge(
  options: ChallengeOptions,
  client: Client,
  { wanted, error }: BearerProblem,
): string {
  const scope = scopesFor(wanted).join(' ')
  const parameters = [
    ['realm', realmUrl(options, client)],
    ['service', options.realm],
    ...(scope === '' ? [] : [['scope', scope]]),
    ...(error === undefined ? [] : [['error', error]]),
  ]
  return `Bearer ${parameters.map(([name, value = '']) => `${name}=${quoted(value)}`).join(',')}`
}

/** What a token must be for to do this, in the words of the token's grammar. */
function scopesFor({ action, repository, source }: BearerProblem['wanted']): string[] {
  switch (action) {
    case 'none':
      return []
    case 'list':
      return ['registry:catalog:*']
    case 'pull':
      return [`repository:${repository}:pull`]
    case 'delete':
      return [`repository:${repository}:delete`]
    case 'push':
      return [
        `repository:${repository}:pull,push`,
        ...(source === undefined ? [] : [`repository:${source}:pull`]),
      ]
    case 'undo':
      return [`repository:${repository}:pull,push,delete`]
  }
}

/**
 * The host is the client's own word, and goes back to that client alone; anything but a host's name
 * and port becomes `localhost`.
 */
function realmUrl(
  { tokenUrl, externalUrl }: ChallengeOptions,
  { header, isEncrypted }: Client,
): string {
  if (tokenUrl !== undefined) return tokenUrl.href
  if (externalUrl !== undefined) return new URL('/token', externalUrl).href
  const host = header('host') ?? ''
  const isHost = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/.test(host)
  return `${isEncrypted === true ? 'https' : 'http'}://${isHost ? host : 'localhost'}/token`
}

/** Control characters could end the header; what is outside ASCII would be refused by Node. */
function quoted(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`
}
