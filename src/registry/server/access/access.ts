/**
 * Who may do what. Asked once per request, before the handler runs and with the same parsed endpoint
 * that the handler gets; the answer then tells of every other repository that the request touches: a
 * mount's source, the catalog's entries.
 */
import { OciError } from '../../../oci/errors.ts'
import type { Reply } from '../exchange.ts'
import type { Wanted } from './decide.ts'
import type { Session } from './session.ts'

/** What is known of the client, before anything of it is believed. */
export interface Client {
  /** One object for all requests of a connection, which may be several clients' behind a proxy. */
  readonly connection?: object
  /** A request header by its lower-case name. */
  readonly header: (name: string) => string | undefined
  /** Its address: the connection's, or what a proxy of ours says (`client-of.ts`). */
  readonly remote?: string | undefined
  readonly port?: number | undefined
  /** Whether it came by TLS, to us or to a proxy of ours. */
  readonly isEncrypted?: boolean
  /** Present when its chain was verified against the authorities for clients. */
  readonly certificate?: ClientCertificate | undefined
}

export interface ClientCertificate {
  readonly commonName?: string | undefined
  /** As Node gives them: `DNS:a.example, URI:spiffe://…`. */
  readonly alternativeNames?: string | undefined
  readonly organizations: readonly string[]
}

export interface AccessRequest extends Wanted {
  /** The source of a mount, which a token may be asked for as well. */
  readonly source?: string | undefined
}

export interface TokenRequest {
  readonly method: string
  readonly query: URLSearchParams
  /** The body of a POST: a form. */
  readonly form: () => Promise<URLSearchParams>
  readonly client: Client
}

export interface Access {
  /** Throws {@link LoginNeeded}, `denied`, or `unavailable` when it cannot be found out now. */
  admit(client: Client, request: AccessRequest): Promise<Session>
  /** `/token`; `undefined` where there is none. Throws as {@link Access.admit}, and `invalid`. */
  issueToken(request: TokenRequest): Promise<Reply | undefined>
}

/** 401, with what the client is to do about it. */
export class LoginNeeded extends OciError {
  override readonly name = 'LoginNeeded'
  /** The value of `WWW-Authenticate`. */
  readonly challenge: string

  constructor(message: string, challenge: string) {
    super('unauthenticated', message)
    this.challenge = challenge
  }
}

/** Everybody may do everything. */
export const openAccess: Access = {
  admit: async () => ({ may: () => true }),
  issueToken: async () => undefined,
}
