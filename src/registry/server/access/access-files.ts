/** The files that access is decided by: read when it is opened, and again when they change. */
import { readFile } from 'node:fs/promises'
import type { Rules } from './decide.ts'
import { type Htpasswd, parseHtpasswd } from './htpasswd.ts'
import { type Issuers, openIssuers } from './issuers.ts'
import { everythingForUsers, letsAnyonePull, type Policy, rememberRights } from './policy.ts'
import { parsePolicyFile } from './policy-file.ts'
import { loadTokenKeys, type TokenKeys, temporaryTokenKeys } from './token-keys.ts'
import { type Watched, watch } from './watched-file.ts'

export interface AccessFileOptions {
  /** A file of `htpasswd -B`; absent: no users with passwords. */
  readonly htpasswd?: string
  /** A policy file; absent: whoever logs in may do everything, and nobody else anything. */
  readonly policy?: string
  /** A folder of keys; absent: a key of this process alone, and no refresh tokens. */
  readonly tokenKeys?: string
  /** A file that changed and cannot be used; what it said before goes on. */
  readonly onReloadFailure: (error: unknown) => void
}

export interface LoadedRules extends Rules {
  readonly issuers: Issuers
}

export interface AccessFiles extends Disposable {
  readonly users: Watched<Htpasswd>
  readonly rules: Watched<LoadedRules>
  readonly keys: Watched<TokenKeys>
  reload(): Promise<void>
}

/** Throws `invalid` and the system's errors for a file that cannot be used. */
export async function openAccessFiles(options: AccessFileOptions): Promise<AccessFiles> {
  const { htpasswd, policy, tokenKeys, onReloadFailure: onError } = options
  const opened: Watched<unknown>[] = []
  const close = () => {
    for (const file of opened) file[Symbol.dispose]()
  }
  const open = async <T>(
    path: string | undefined,
    load: (path: string) => Promise<T>,
    otherwise: () => Promise<T>,
  ): Promise<Watched<T>> => {
    if (path === undefined) return constant(await otherwise())
    const file = await watch({ path, load, onError })
    opened.push(file)
    return file
  }
  try {
    return {
      users: await open(htpasswd, loadUsers, async () => new Map()),
      rules: await open(policy, loadRules, async () =>
        rulesFrom(everythingForUsers, await openIssuers([])),
      ),
      keys: await open(tokenKeys, loadTokenKeys, temporaryTokenKeys),
      reload: async () => {
        for (const file of opened) await file.reload()
      },
      [Symbol.dispose]: close,
    }
  } catch (error) {
    close()
    throw error
  }
}

async function loadUsers(path: string): Promise<Htpasswd> {
  return parseHtpasswd(path, await readFile(path, 'utf8'))
}

async function loadRules(path: string): Promise<LoadedRules> {
  const { policy, issuers } = parsePolicyFile(path, await readFile(path, 'utf8'))
  return rulesFrom(policy, await openIssuers(issuers))
}

function rulesFrom(policy: Policy, issuers: Issuers): LoadedRules {
  return {
    rightsOf: rememberRights(policy),
    letsAnyonePull: letsAnyonePull(policy),
    hasLogin: true,
    issuers,
  }
}

function constant<T>(value: T): Watched<T> {
  return { current: () => value, reload: async () => {}, [Symbol.dispose]: () => {} }
}
