/** Who may use the registry, as the flags of the server say it. */
import type { Logger } from 'pino'
import { openAccess } from '../../registry/server/access/access.ts'
import {
  type AccessControl,
  type AccessOptions,
  openAccessControl,
} from '../../registry/server/access/open-access-control.ts'
import type { ObjectReader } from '../../registry/storage/object-store.ts'
import { usageError } from '../cli-error.ts'
import type { FlagValues } from '../flags/flags.ts'

export const accessFlags = {
  htpasswd: {
    kind: 'string',
    value: 'FILE',
    help: 'Users and their passwords, as made by htpasswd -B',
    env: 'TSREGISTRY_HTPASSWD',
  },
  policy: {
    kind: 'string',
    value: 'FILE',
    help: 'Who may do what in which repositories, as YAML; see docs/access.md',
    env: 'TSREGISTRY_POLICY',
  },
  realm: {
    kind: 'string',
    value: 'NAME',
    help: 'What users log in to, and what tokens are for',
    env: 'TSREGISTRY_REALM',
    default: 'tsregistry',
  },
  'token-key': {
    kind: 'string',
    value: 'DIR',
    help: 'Keys that tokens are signed with, shared by all replicas; made when there is none',
    env: 'TSREGISTRY_TOKEN_KEY',
  },
  'token-url': {
    kind: 'string',
    value: 'URL',
    help: 'A token server elsewhere that clients are sent to, instead of our own',
    env: 'TSREGISTRY_TOKEN_URL',
  },
  'external-url': {
    kind: 'string',
    value: 'URL',
    help: 'Where clients reach the registry, when a proxy is before it',
    env: 'TSREGISTRY_EXTERNAL_URL',
  },
} as const

type AccessFlagValues = FlagValues<typeof accessFlags>

/** `undefined`: everybody may do everything. Throws a usage error for flags that make no sense. */
export function accessOptions(
  flags: AccessFlagValues,
  { given, isMutual }: { readonly given: ReadonlySet<string>; readonly isMutual: boolean },
): Omit<AccessOptions, 'objects' | 'onReloadFailure'> | undefined {
  const { htpasswd, policy, realm } = flags
  if (!/^[\x20-\x7e]{1,100}$/.test(realm)) {
    throw usageError('Cannot use flag --realm: expected up to 100 printable characters')
  }
  if (htpasswd === undefined && policy === undefined && !isMutual) {
    const useless = ['realm', 'token-key', 'token-url'].find(name => given.has(name))
    if (useless === undefined) return undefined
    throw usageError(
      `Cannot use flag --${useless}: nobody can log in`,
      'Give --htpasswd, --policy or --client-ca as well',
    )
  }
  return {
    realm,
    ...(htpasswd === undefined ? {} : { htpasswd }),
    ...(policy === undefined ? {} : { policy }),
    ...(flags['token-key'] === undefined ? {} : { tokenKeys: flags['token-key'] }),
    ...addressFrom('token-url', 'tokenUrl', flags),
    ...addressFrom('external-url', 'externalUrl', flags),
  }
}

export interface AccessSurroundings {
  readonly objects: ObjectReader
  readonly log: Logger
}

/** Throws `invalid` for files that cannot be used. */
export async function openAccessFrom(
  options: ReturnType<typeof accessOptions>,
  { objects, log }: AccessSurroundings,
): Promise<AccessControl> {
  if (options === undefined) {
    return { ...openAccess, reload: async () => {}, [Symbol.asyncDispose]: async () => {} }
  }
  return openAccessControl({
    ...options,
    objects,
    onReloadFailure: err => log.error({ err }, 'access: not reloaded, the last one stays in force'),
  })
}

function addressFrom<K extends string>(
  flag: 'token-url' | 'external-url',
  name: K,
  flags: AccessFlagValues,
): { readonly [P in K]?: URL } {
  const text = flags[flag]
  if (text === undefined) return {}
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isWeb = url !== undefined && /^https?:$/.test(url.protocol)
  if (!isWeb || url.username !== '' || url.password !== '' || url.hash !== '') {
    throw usageError(
      `Cannot use flag --${flag}: expected an address such as https://registry.example`,
    )
  }
  return { [name]: url } as { readonly [P in K]?: URL }
}
