/**
 * Who asks. The name is what policies call them, and its form tells where it comes from, so nobody
 * is taken for another of the same name elsewhere:
 *
 *   alice                 a user of the htpasswd file
 *   robot+ci              a robot key
 *   cert:build.example    a client certificate
 *   github:repo:acme/app  a token of the issuer that the configuration calls `github`
 */
export interface Identity {
  readonly kind: 'anonymous' | 'user' | 'robot' | 'certificate' | 'external'
  readonly name: string
  /** What the credentials of this request say; never what earlier ones said. */
  readonly groups: readonly string[]
}

export const anonymous: Identity = { kind: 'anonymous', name: '', groups: [] }

export const robotPrefix = 'robot+'
