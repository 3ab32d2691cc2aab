/**
 * World: what commands that work with images share, made from the environment: the store, and a
 * registry client with the user's logins and proxies.
 */
import { openStore, type Store } from '../layerfs/store.ts'
import { createRegistryClient, type RegistryClient } from '../registry/client/client.ts'
import {
  createCredentialsProvider,
  credentialSources,
} from '../registry/client/credential-lookup.ts'
import { authoritiesFrom } from './authorities.ts'
import type { Environment } from './environment.ts'
import type { FlagTable } from './flags/flags.ts'
import { programVersion } from './version.ts'

export interface World extends AsyncDisposable {
  readonly store: Store
  readonly registry: RegistryClient
}

/** For every command that talks to registries. */
export const registryFlags = {
  'tls-verify': {
    kind: 'boolean',
    default: true,
    group: 'Registry',
    help: 'Verify certificates; --tls-verify=false also accepts unknown ones',
  },
  'plain-http': {
    kind: 'boolean',
    group: 'Registry',
    help: 'Use HTTP without TLS; a registry on this machine needs no flag',
  },
} as const satisfies FlagTable

export interface RegistryFlags {
  readonly offline?: boolean
  readonly 'tls-verify': boolean
  readonly 'plain-http': boolean
}

/** Throws what `openStore` throws. Dispose it when the command is done. */
export async function openWorld(environment: Environment, flags?: RegistryFlags): Promise<World> {
  const store = await openStore(environment.root)
  const registry = openRegistryClient(environment, flags)
  return {
    store,
    registry,
    [Symbol.asyncDispose]: async () => {
      await registry[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

export function openRegistryClient(
  environment: Environment,
  flags: RegistryFlags = { 'tls-verify': true, 'plain-http': false },
): RegistryClient {
  const ca = authoritiesFrom(environment.lookup)
  return createRegistryClient({
    userAgent: `tsbuild/${programVersion()}`,
    offline: flags.offline ?? false,
    credentials: createCredentialsProvider(credentialSources(environment.variables)),
    endpoints: {
      ...(flags['plain-http'] ? { plainHttp: 'all' as const } : {}),
      ...(flags['tls-verify'] ? {} : { insecure: 'all' as const }),
    },
    network: {
      proxies: environment.proxies,
      ...(ca === undefined ? {} : { ca }),
    },
  })
}
