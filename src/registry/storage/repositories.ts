/** Repositories: they come to be with their first manifest, and are listed in a catalog. */
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { rescue } from './condemn.ts'
import { catalogKey, catalogPrefix, listedName, nameFromListed } from './keys.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'

/** After this, and while there is a manifest in it, the repository is in the catalog. */
export async function addRepository(
  storage: RegistryStorage,
  repository: RepositoryName,
): Promise<void> {
  const key = catalogKey(repository)
  if ((await rescue(storage, key)) !== undefined) return
  try {
    await storage.objects.put(key, new Uint8Array(), { condition: { kind: 'absent' } })
  } catch (error) {
    if (!hasCode(error, 'conflict')) throw error
    await addRepository(storage, repository)
  }
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

async function hasRepository(
  storage: RegistryStorage,
  repository: RepositoryName,
): Promise<boolean> {
  return (await storage.objects.size(catalogKey(repository))) !== undefined
}
