/**
 * Referrers: for each subject, one object per manifest that names it, holding the descriptor that a
 * list of referrers shows. Spec: distribution-spec, Listing Referrers.
 */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { removeUnlessNeeded } from './condemn.ts'
import { manifestKey, referrerKey, referrersPrefix } from './keys.ts'
import type { ManifestDocument } from './manifest-document.ts'
import { encodeRecord, readRecord } from './records.ts'
import type { RegistryStorage } from './registry-storage.ts'

export interface Referrer {
  readonly digest: Digest
  /** The descriptor, as it is shown. */
  readonly descriptor: Readonly<Record<string, unknown>>
  /** Bytes of the descriptor as JSON. */
  readonly length: number
}

/** A descriptor with more than this in annotations is shown without them: clients read 4 MiB. */
const maxDescriptor = 1024 * 1024

export async function addReferrer(
  storage: RegistryStorage,
  repository: RepositoryName,
  referrer: { readonly document: ManifestDocument; readonly digest: Digest; readonly size: number },
): Promise<void> {
  const { document, digest, size } = referrer
  if (document.subject === undefined) return
  const { mediaType, artifactType, annotations } = document
  const bare = { mediaType, digest, size, ...(artifactType === undefined ? {} : { artifactType }) }
  const full = encodeRecord(annotations === undefined ? bare : { ...bare, annotations })
  const record = full.length > maxDescriptor ? encodeRecord(bare) : full
  await storage.objects.put(referrerKey(repository, document.subject, digest), record)
}

/** Takes the manifest out of the lists, unless it is there: a push may have brought it back. */
export async function removeReferrer(
  storage: RegistryStorage,
  repository: RepositoryName,
  { subject, digest }: { readonly subject: Digest; readonly digest: Digest },
): Promise<boolean> {
  return removeUnlessNeeded(
    storage,
    referrerKey(repository, subject, digest),
    async () => (await storage.objects.size(manifestKey(repository, digest))) !== undefined,
  )
}

/** Up to `max` referrers of `subject` after `last`, in the order of their digests. */
export async function listReferrers(
  storage: RegistryStorage,
  repository: RepositoryName,
  page: { readonly subject: Digest; readonly last: string; readonly max: number },
): Promise<Referrer[]> {
  const prefix = referrersPrefix(repository, page.subject)
  const keys = await storage.objects.list(prefix, { startAfter: prefix + page.last, max: page.max })
  const found = await Promise.all(keys.map(key => readReferrer(storage, prefix, key)))
  return found.filter(referrer => referrer !== undefined)
}

async function readReferrer(
  storage: RegistryStorage,
  prefix: string,
  key: string,
): Promise<Referrer | undefined> {
  const record = await readRecord(storage.objects, key)
  if (record === undefined) return undefined
  const { condemned, ...descriptor } = record.value
  // Its manifest is gone, or will be back with another version of this.
  if (condemned !== undefined) return undefined
  const length = Buffer.byteLength(JSON.stringify(descriptor))
  return { digest: key.slice(prefix.length) as Digest, descriptor, length }
}
