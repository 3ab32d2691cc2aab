/** Credentials: who the user is to a registry. */

export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** Exchanged for access tokens at the registry's token server. */
  | { readonly kind: 'identity-token'; readonly token: string; readonly username?: string }
  /** Sent to the registry as it is. */
  | { readonly kind: 'registry-token'; readonly token: string }

/** `undefined`: go without. */
export type CredentialsProvider = (
  registry: string,
  repository?: string,
) => Promise<Credentials | undefined>

/** Environment variables, as values: nothing here reads the process's own. */
export type Environment = Readonly<Record<string, string | undefined>>
