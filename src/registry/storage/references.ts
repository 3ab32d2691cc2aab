/** What a manifest refers to, checked and held: it must not be collected while the manifest is there. */
import type { RepositoryName } from '../../oci/reference.ts'
import { holdBlob } from './blobs.ts'
import { rescue } from './condemn.ts'
import { blobLinkKey, manifestKey } from './keys.ts'
import type { ManifestDocument, ReferredContent } from './manifest-document.ts'
import type { StoredObject } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { MissingReferencesError } from './resource-error.ts'

const atOnce = 16

/**
 * Rescues what is to be collected. Throws {@link MissingReferencesError} for what is not there, when
 * the registry refuses that, and whatever the registry's policy for what was there a moment ago: the
 * client may have been told so.
 */
export async function holdReferences(
  storage: RegistryStorage,
  repository: RepositoryName,
  document: ManifestDocument,
): Promise<void> {
  const missing: string[] = []
  const waiting = [...document.references]
  const check = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (!(await holdOrForgo(storage, repository, next))) missing.push(next.digest)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, waiting.length) }, check))
  if (missing.length > 0) throw new MissingReferencesError(missing.sort())
}

async function holdOrForgo(
  storage: RegistryStorage,
  repository: RepositoryName,
  reference: ReferredContent,
): Promise<boolean> {
  if (storage.policy.missingReferences === 'refuse') return hold(storage, repository, reference)
  const key =
    reference.kind === 'manifest'
      ? manifestKey(repository, reference.digest)
      : blobLinkKey(repository, reference.digest)
  // One look, before the rescue: never there is fine, gone while we look is not.
  const seen = await storage.objects.get(key)
  return seen === undefined || hold(storage, repository, { ...reference, seen })
}

async function hold(
  storage: RegistryStorage,
  repository: RepositoryName,
  { kind, digest, size, seen }: ReferredContent & { readonly seen?: StoredObject },
): Promise<boolean> {
  if (kind === 'manifest') {
    return (await rescue(storage, manifestKey(repository, digest), seen)) !== undefined
  }
  return (await holdBlob(storage, repository, { digest, seen }))?.size === size
}
