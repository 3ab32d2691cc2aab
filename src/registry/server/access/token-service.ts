/**
 * `/token`: credentials and scopes in, a token for as much of them as the policy grants out. Less than
 * was asked for is no error. Spec: distribution, token authentication (GET) and OAuth2 (POST).
 */
import { OciError } from '../../../oci/errors.ts'
import { ResourceError } from '../../storage/resource-error.ts'
import { jsonReply, type Reply, single } from '../exchange.ts'
import { type Client, LoginNeeded, type TokenRequest } from './access.ts'
import type { Account } from './account.ts'
import type { Accounts } from './accounts.ts'
import type { Authenticated, Authenticator } from './authenticate.ts'
import { basicChallenge } from './challenge.ts'
import { allRights, type RightsOf } from './policy.ts'
import { lifetimeSeconds, signToken, type TokenIssuer, verifyToken } from './registry-token.ts'
import { parseScopes, type Resource } from './scope.ts'

export interface TokenService {
  readonly tokens: TokenIssuer
  readonly accounts: Accounts
  readonly authenticator: Authenticator
  readonly rightsOf: () => RightsOf
  readonly mayList: (account: Account) => boolean
  /** Whether the keys outlive this process, and so what is refreshed with them. */
  readonly issuesRefreshTokens: boolean
}

/** Throws {@link LoginNeeded}, `invalid`, `unavailable`. */
export async function issueToken(service: TokenService, request: TokenRequest): Promise<Reply> {
  switch (request.method) {
    case 'GET':
      return answerGet(service, request)
    case 'POST':
      return answerPost(service, request)
    default:
      throw new ResourceError('unsupported method', `Cannot ${request.method} a token`)
  }
}

interface Wish {
  readonly proof: Authenticated
  readonly scopes: readonly string[]
  readonly wantsRefresh: boolean
}

async function answerGet(service: TokenService, { query, client }: TokenRequest): Promise<Reply> {
  mustBeFor(service, single(query, 'service'))
  const proof = await service.authenticator.authenticate(client)
  if (proof === undefined) throw wrongLogin(service)
  return reply(service, {
    proof,
    scopes: query.getAll('scope'),
    wantsRefresh: single(query, 'offline_token') === 'true',
  })
}

async function answerPost(service: TokenService, request: TokenRequest): Promise<Reply> {
  const form = await request.form()
  mustBeFor(service, single(form, 'service'))
  const account = await accountOfForm(service, form, request.client)
  if (account === undefined) throw wrongLogin(service)
  const scope = single(form, 'scope') ?? ''
  return reply(service, {
    proof: { account },
    scopes: [scope],
    wantsRefresh: single(form, 'access_type') === 'offline',
  })
}

async function accountOfForm(
  { accounts, tokens }: TokenService,
  form: URLSearchParams,
  { remote }: Client,
): Promise<Account | undefined> {
  const grant = single(form, 'grant_type')
  switch (grant) {
    case 'password': {
      const user = single(form, 'username') ?? ''
      return accounts.logIn({ user, password: single(form, 'password') ?? '', remote })
    }
    case 'refresh_token': {
      const issued = await verifyToken(tokens, 'refresh', single(form, 'refresh_token') ?? '')
      return issued && accounts.renew(issued.account)
    }
    default:
      throw new OciError(
        'invalid',
        'Cannot issue a token: expected grant_type password or refresh_token',
      )
  }
}

async function reply(service: TokenService, { proof, scopes, wantsRefresh }: Wish): Promise<Reply> {
  const { tokens } = service
  const resources = granted(service, proof, parseScopes(scopes))
  const { account } = proof
  const token = await signToken(tokens, 'access', { account, resources })
  const mayRefresh = service.issuesRefreshTokens && account.stamp !== undefined
  const refresh =
    wantsRefresh && mayRefresh
      ? { refresh_token: await signToken(tokens, 'refresh', { account, resources: [] }) }
      : {}
  const body = {
    token,
    access_token: token,
    expires_in: lifetimeSeconds.access,
    issued_at: tokens.now().toISOString(),
    scope: resources.map(({ type, name, actions }) => `${type}:${name}:${actions}`).join(' '),
    ...refresh,
  }
  return jsonReply(200, body, { 'Cache-Control': 'no-store' })
}

/** Never more than a token had that another is asked for with. */
function granted(
  { rightsOf, mayList }: TokenService,
  { account, scope }: Authenticated,
  asked: readonly Resource[],
): Resource[] {
  const rights = rightsOf()
  return asked.flatMap(({ type, name, actions }) => {
    const possible =
      type === 'repository'
        ? allRights.filter(
            right => right !== 'overwrite' && rights(account.identity, name).has(right),
          )
        : type === 'registry' && name === 'catalog' && mayList(account)
          ? ['*']
          : []
    const given = possible.filter(
      action =>
        (actions.includes(action) || actions.includes('*')) &&
        scope?.may(type, name, action) !== false,
    )
    return given.length === 0 ? [] : [{ type, name, actions: given }]
  })
}

function mustBeFor({ tokens }: TokenService, service: string | undefined): void {
  if (service === undefined || service === tokens.realm) return
  throw new OciError('invalid', `Cannot issue a token: this is not the service that was asked for`)
}

function wrongLogin({ tokens }: TokenService): LoginNeeded {
  return new LoginNeeded('incorrect username or password', basicChallenge(tokens))
}
