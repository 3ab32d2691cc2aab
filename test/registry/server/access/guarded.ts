/** A registry with access control, its files in a folder of its own. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import {
  type AccessControl,
  type AccessOptions,
  openAccessControl,
} from '../../../../src/registry/server/access/open-access-control.ts'
import { MemoryObjectStore } from '../../../../src/registry/storage/memory.ts'
import { type Answer, type Sending, startRegistry, type TestRegistry } from '../registry-server.ts'

export const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

export interface Guarded extends AsyncDisposable {
  readonly registry: TestRegistry
  readonly objects: MemoryObjectStore
  readonly access: AccessControl
  readonly folder: string
  /** Of files that changed and could not be used. */
  readonly reloadFailures: unknown[]
  send(method: string, target: string, sending?: Sending): Promise<Answer>
  /** A token for `scopes`; logs in where there is a user. */
  token(scopes: readonly string[], headers?: Record<string, string>): Promise<string>
}

export interface GuardedFiles {
  readonly users?: Readonly<Record<string, string>>
  readonly policy?: string
}

export async function openGuarded(
  { users, policy }: GuardedFiles,
  options: Partial<AccessOptions> = {},
): Promise<Guarded> {
  const folder = await mkdtemp(join(tmpdir(), 'tsregistry-access-'))
  const write = async (name: string, text: string) => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  }
  const objects = new MemoryObjectStore()
  const reloadFailures: unknown[] = []
  const access = await openAccessControl({
    realm: 'tests',
    objects,
    onReloadFailure: error => reloadFailures.push(error),
    ...(users === undefined ? {} : { htpasswd: await write('users', htpasswd(users)) }),
    ...(policy === undefined ? {} : { policy: await write('policy.yaml', policy) }),
    ...options,
  })
  const registry = await startRegistry({ access, objects })
  return {
    registry,
    objects,
    access,
    folder,
    reloadFailures,
    send: (method, target, sending) => registry.send(method, target, sending),
    token: async (scopes, headers = {}) => {
      const query = scopes.map(scope => `&scope=${encodeURIComponent(scope)}`).join('')
      const answer = await registry.send('GET', `/token?service=tests${query}`, { headers })
      return JSON.parse(answer.body.toString()).token
    },
    [Symbol.asyncDispose]: async () => {
      await registry.close(0)
      await access[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    },
  }
}

/** At the least cost there is. */
export function htpasswd(users: Readonly<Record<string, string>>): string {
  const lines = Object.entries(users).map(([user, password]) => `${user}:${hashSync(password, 4)}`)
  return `# users\n\n${lines.join('\n')}\n`
}

export const samplePolicy = `
admins: ["user:root"]
groups:
  developers: [alice, robot+ci]
policies:
  - repositories: ["public/**"]
    allow:
      - { to: [anyone], rights: [pull] }
      - { to: ["group:developers"], rights: [push] }
  - repositories: ["secret/hidden"]
    allow: []
  - repositories: ["secret/**", "team/**"]
    allow:
      - { to: ["user:alice"], rights: [all] }
      - { to: ["user:bob", "group:machines"], rights: [pull, push] }
`

export const sampleUsers = { root: 'r', alice: 'a', bob: 'b' }
