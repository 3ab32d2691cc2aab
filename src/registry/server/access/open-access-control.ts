/**
 * Access made from its options: files are read and watched, keys made, and the parts put together.
 * Of a file that changes either all is understood or nothing is taken.
 */
import type { ObjectReader } from '../../storage/object-store.ts'
import { type Access, type AccessRequest, type Client, LoginNeeded } from './access.ts'
import { type AccessFileOptions, openAccessFiles } from './access-files.ts'
import { createAccounts } from './accounts.ts'
import { createAuthenticator } from './authenticate.ts'
import { basicChallenge, bearerChallenge, type ChallengeOptions } from './challenge.ts'
import { createPasswordCheck } from './check-password.ts'
import { openPasswordComparer } from './compare-password.ts'
import { type Caller, decide, mayDo, type Rules } from './decide.ts'
import { createProofsOfConnections } from './proofs-of-connections.ts'
import { refusal } from './refusal.ts'
import { createRobotCheck } from './robots.ts'
import { issueToken, type TokenService } from './token-service.ts'

export interface AccessOptions extends ChallengeOptions, AccessFileOptions {
  /** Where robot keys are. */
  readonly objects: ObjectReader
  readonly now?: () => Date
}

export interface AccessControl extends Access, AsyncDisposable {
  /** Reads everything again, as on SIGHUP. Throws `invalid`; what cannot be used stays as it was. */
  reload(): Promise<void>
}

/** Throws `invalid` and the system's errors for a file that cannot be used. */
export async function openAccessControl(options: AccessOptions): Promise<AccessControl> {
  const { now = () => new Date() } = options
  const files = await openAccessFiles(options)
  const rules = () => files.rules.current()
  const comparer = openPasswordComparer()
  const users = () => files.users.current()
  const accounts = createAccounts({
    users,
    passwords: createPasswordCheck(users, comparer),
    robots: createRobotCheck(options.objects, () => now().getTime()),
  })
  const tokens = { keys: () => files.keys.current(), realm: options.realm, now }
  const sources = { users, accounts, tokens, issuers: () => rules().issuers }
  const authenticator = createAuthenticator(sources)
  const proofs = createProofsOfConnections(authenticator, sources)
  const service: TokenService = {
    tokens,
    accounts,
    authenticator,
    rightsOf: () => rules().rightsOf,
    mayList: ({ identity }) => decide(rules(), { identity }, { action: 'list' }) === 'allow',
    issuesRefreshTokens: options.tokenKeys !== undefined,
  }
  const challenger = { options, rules }
  return {
    admit: async (client, request) => {
      const proof = proofs.recall(client) ?? (await proofs.prove(client))
      if (proof === undefined) throw wrongCredentials(challenger, client, request)
      const caller: Caller = { identity: proof.account.identity, scope: proof.scope }
      mustBeAllowed(challenger, { client, caller, request })
      return {
        name: caller.identity.name || undefined,
        // A catalog shows what the caller may see, whatever repository the token was issued for.
        may: (right, repository) =>
          request.action === 'list'
            ? mayDo(rules(), { identity: caller.identity }, { right, repository })
            : mayDo(rules(), caller, { right, repository }),
      }
    },
    issueToken: request => issueToken(service, request),
    reload: () => files.reload(),
    [Symbol.asyncDispose]: async () => {
      files[Symbol.dispose]()
      await comparer[Symbol.asyncDispose]()
    },
  }
}

interface Challenger {
  readonly options: AccessOptions
  readonly rules: () => Rules
}

interface Admission {
  readonly client: Client
  readonly caller: Caller
  readonly request: AccessRequest
}

function mustBeAllowed(challenger: Challenger, { client, caller, request }: Admission): void {
  const verdict = decide(challenger.rules(), caller, request)
  switch (verdict) {
    case 'allow':
      return
    case 'refuse':
      throw refusal(caller.identity, request)
    case 'log in':
      throw loginNeeded(challenger, client, { wanted: request })
    case 'widen':
      throw loginNeeded(challenger, client, { wanted: request, error: 'insufficient_scope' })
  }
}

function wrongCredentials(challenger: Challenger, client: Client, wanted: AccessRequest) {
  return loginNeeded(challenger, client, { wanted, error: 'invalid_token' })
}

/**
 * Clients that are asked for a password and have none give up, though they would need none for what
 * anybody may pull: where there is such a thing they are asked for a token, which anybody gets.
 */
function loginNeeded(
  { options, rules }: Challenger,
  client: Client,
  problem: Parameters<typeof bearerChallenge>[2],
): LoginNeeded {
  const isBearer =
    options.tokenKeys !== undefined || options.tokenUrl !== undefined || rules().letsAnyonePull
  const challenge = isBearer ? bearerChallenge(options, client, problem) : basicChallenge(options)
  const message =
    problem.error === 'invalid_token' ? 'incorrect username, password or token' : 'login needed'
  return new LoginNeeded(message, challenge)
}
