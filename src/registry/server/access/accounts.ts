/** Those whom this registry knows by itself: users with passwords, and robots. */
import { type Account, stampOf } from './account.ts'
import type { Login, PasswordCheck } from './check-password.ts'
import type { Htpasswd } from './htpasswd.ts'
import { robotPrefix } from './identity.ts'
import type { RobotCheck } from './robots.ts'

export interface Accounts {
  /** `undefined` when name and secret do not go together. Throws `unavailable`. */
  logIn(login: Login): Promise<Account | undefined>
  /** The account as it is now, if what it logged in with is still good. */
  renew(account: Account): Promise<Account | undefined>
}

export interface AccountSources {
  readonly users: () => Htpasswd
  readonly passwords: PasswordCheck
  readonly robots: RobotCheck
}

export function createAccounts({ users, passwords, robots }: AccountSources): Accounts {
  const user = (name: string): Account | undefined => {
    const hash = users().get(name)
    if (hash === undefined) return undefined
    return { identity: { kind: 'user', name, groups: [] }, stamp: stampOf(hash) }
  }
  return {
    logIn: async login => {
      if (login.user.startsWith(robotPrefix)) return robots.logIn(login)
      return (await passwords.isRight(login)) ? user(login.user) : undefined
    },
    renew: async account => {
      const now = await current(account)
      return now?.stamp === account.stamp ? now : undefined
    },
  }

  async function current(account: Account): Promise<Account | undefined> {
    const { kind, name } = account.identity
    if (kind === 'user') return user(name)
    if (kind === 'robot') return robots.find(name)
    return account
  }
}
