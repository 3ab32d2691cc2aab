/** Repositories: they come to be with their first manifest, and are listed in a catalog. */
import type { RepositoryName } from '../../oci/reference.ts'
import { makeOrRescue, rescue } from './condemn.ts'
import {
  afterRepository,
  catalogKey,
  catalogPrefix,
  listedName,
  nameFromListed,
  repositoriesPrefix,
  repositoryOfKey,
} from './keys.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'

/** After a manifest is there: from then on, and while there is one, the repository is in the catalog. */
export async function addRepository(
  storage: RegistryStorage,
  repository: RepositoryName,
): Promise<void> {
  const key = catalogKey(repository)
  // One question either way, once it is known which is the right one.
  const wasThere = storage.confirmed.has(key)
  if (!wasThere || (await rescue(storage, key)) === undefined) {
    await makeOrRescue(storage, key, new Uint8Array())
  }
  storage.confirmed.set(key, '')
}

/** Throws `not-found` of the repository. */
export async function mustHaveRepository(
  storage: RegistryStorage,
  repository: RepositoryName,
): Promise<void> {
  if (await hasRepository(storage, repository)) return
  throw new ResourceError('not-found repository', `Cannot find repository "${repository}"`, {
    detail: { name: repository },
  })
}

/** Up to `max` names after `last`, in the order of their bytes. */
export async function listRepositories(
  storage: RegistryStorage,
  page: { readonly last: string; readonly max: number },
): Promise<RepositoryName[]> {
  const startAfter = catalogPrefix + listedName(page.last)
  const keys = await storage.objects.list(catalogPrefix, { startAfter, max: page.max })
  return keys.map(key => nameFromListed(key.slice(catalogPrefix.length)))
}

/** Also those that have blobs and no manifest yet, which are in no catalog. */
export async function* repositoriesWithContent(
  { objects }: RegistryStorage,
  isMeant: (repository: string) => boolean = () => true,
): AsyncGenerator<RepositoryName> {
  let startAfter = repositoriesPrefix
  for (;;) {
    const keys = await objects.list(repositoriesPrefix, { startAfter, max: 1000 })
    if (keys.length === 0) return
    for (const key of keys) {
      if (key <= startAfter) continue
      const repository = repositoryOfKey(key)
      startAfter = afterRepository(repository)
      if (isMeant(repository)) yield repository
    }
  }
}

async function hasRepository(
  storage: RegistryStorage,
  repository: RepositoryName,
): Promise<boolean> {
  return (await storage.objects.size(catalogKey(repository))) !== undefined
}
