/**
 * What was proved on a connection: most send the same header with every request, and to read, hash and
 * look it up again costs a quarter of a manifest (measured).
 *
 * 1. It is forgotten after a minute, with any file that it was proved by, with the token or robot key,
 *    and with the connection.
 * 2. The headers are compared in a time that tells nothing of them: behind a proxy it is not one client
 *    that sends on a connection.
 */
import { timingSafeEqual } from 'node:crypto'
import type { Client } from './access.ts'
import type { Authenticated, Authenticator, AuthenticatorSources } from './authenticate.ts'

export interface ProofsOfConnections {
  /** What the client proved with the same header before; `undefined`: it is to be proved. */
  recall(client: Client): Authenticated | undefined
  /** As {@link Authenticator.authenticate}, and remembers it. */
  prove(client: Client): Promise<Authenticated | undefined>
}

interface Proof {
  readonly header: Buffer
  readonly proved: Authenticated
  /** Milliseconds since 1970. */
  readonly until: number
  readonly by: Files
}

/** One object each for as long as the file says the same. */
type Files = readonly [users: unknown, keys: unknown, issuers: unknown]

const rememberedMs = 60_000

export function createProofsOfConnections(
  { authenticate }: Authenticator,
  { users, tokens, issuers }: AuthenticatorSources,
): ProofsOfConnections {
  const proofs = new WeakMap<object, Proof>()
  const now = () => tokens.now().getTime()
  const files = (): Files => [users(), tokens.keys(), issuers()]
  const isGood = ({ until, by: [usersThen, keysThen, issuersThen] }: Proof) =>
    now() < until &&
    users() === usersThen &&
    tokens.keys() === keysThen &&
    issuers() === issuersThen
  return {
    recall: ({ connection, header }) => {
      const last = connection && proofs.get(connection)
      if (last === undefined) return undefined
      return isSame(last.header, header('authorization')) && isGood(last) ? last.proved : undefined
    },
    prove: async client => {
      // As they are before: what changes while it is proved is found by the next request.
      const by = files()
      const proved = await authenticate(client)
      const { connection } = client
      const header = client.header('authorization')
      if (proved === undefined || connection === undefined || header === undefined) return proved
      const { expiresAt = Infinity, account } = proved
      const until = Math.min(now() + rememberedMs, expiresAt, account.until ?? Infinity)
      proofs.set(connection, { header: Buffer.from(header), proved, until, by })
      return proved
    },
  }
}

function isSame(known: Buffer, header: string | undefined): boolean {
  if (header === undefined) return false
  const sent = Buffer.from(header)
  return sent.length === known.length && timingSafeEqual(sent, known)
}
