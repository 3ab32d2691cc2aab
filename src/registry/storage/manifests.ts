/**
 * Manifests: stored as the exact bytes that were pushed, with the type they were pushed as.
 *
 * 1. Order of creation: catalog, manifest, referrer, hint, tag. A crash leaves no tag that points
 *    at nothing and no manifest that is in no catalog.
 * 2. Order of deletion: tags, manifest, referrer: nothing points at what is gone.
 * 3. A tag is one object and is changed by compare-and-swap where the client asks for it.
 */
import { algorithmOf, type Digest, digestOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { findBlob } from './blobs.ts'
import { manifestKey } from './keys.ts'
import {
  type ManifestDocument,
  parseManifestDocument,
  type ReferredContent,
} from './manifest-document.ts'
import { decodeRecord, encodeRecord } from './records.ts'
import { addReferrer, removeReferrer } from './referrers.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { addRepository } from './repositories.ts'
import { MissingReferencesError, ResourceError } from './resource-error.ts'
import { findTag, putTag, removeTagsOf, type TagCondition } from './tags.ts'

export interface StoredManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Uint8Array
  readonly subject?: Digest
}

export interface ManifestPush {
  readonly bytes: Uint8Array
  /** Type it is pushed as, without parameters; empty when not said. */
  readonly contentType: string
  /** What the client says the digest is; its algorithm is kept. */
  readonly digest?: Digest
  readonly tags: readonly Tag[]
  readonly condition?: TagCondition
}

export type ManifestReference =
  | { readonly kind: 'digest'; readonly digest: Digest }
  | { readonly kind: 'tag'; readonly tag: Tag }

/**
 * Stores a manifest and points the tags at it. Throws `invalid` or `digest-mismatch` of the
 * manifest, {@link MissingReferencesError}, or a conflict of the precondition; of several tags,
 * those before the one in conflict are set.
 */
export async function pushManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  push: ManifestPush,
): Promise<StoredManifest> {
  const document = parseManifestDocument(push.bytes, push.contentType)
  const digest = digestOfPush(push)
  if (storage.policy.missingReferences === 'refuse') {
    await mustHaveReferences(storage, repository, document)
  }
  const manifest = {
    digest,
    mediaType: document.mediaType,
    bytes: push.bytes,
    ...subjectOf(document),
  }
  await addRepository(storage, repository)
  if (push.tags.length === 0) await mustMeetCondition(storage, repository, { digest, push })
  await putManifest(storage, repository, manifest)
  if (document.subject !== undefined) {
    await addReferrer(storage, repository, { document, digest, size: push.bytes.length })
  }
  for (const tag of push.tags) {
    await putTag(storage, repository, { tag, manifest, condition: push.condition })
  }
  await restoreIfGone(storage, repository, manifest)
  return manifest
}

/** Throws `not-found` of the manifest; also for a tag that points at nothing. */
export async function readManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  reference: ManifestReference,
): Promise<StoredManifest> {
  const digest =
    reference.kind === 'digest'
      ? reference.digest
      : (await findTag(storage, repository, reference.tag))?.digest
  const manifest =
    digest === undefined ? undefined : await findManifest(storage, repository, digest)
  if (manifest !== undefined) return manifest
  const name = reference.kind === 'digest' ? reference.digest : reference.tag
  throw new ResourceError(
    'not-found manifest',
    `Cannot find manifest "${name}" in repository "${repository}"`,
    { detail: { reference: name } },
  )
}

/** Removes a manifest, all tags that point at it, and it as a referrer. Throws `not-found`. */
export async function deleteManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<void> {
  const manifest = await readManifest(storage, repository, { kind: 'digest', digest })
  await removeTagsOf(storage, repository, digest)
  await storage.objects.delete(manifestKey(repository, digest))
  // A push of the same manifest may have tagged it in between: it looks whether the manifest is
  // still there after setting the tag, we look for the tag after removing the manifest.
  await removeTagsOf(storage, repository, digest)
  if (manifest.subject !== undefined) {
    await removeReferrer(storage, repository, { subject: manifest.subject, digest })
  }
}

async function findManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<StoredManifest | undefined> {
  const key = manifestKey(repository, digest)
  const object = await storage.objects.get(key)
  if (object === undefined || object.bytes.length === 0) return undefined
  return { digest, ...decodeManifest(object.bytes, key) }
}

async function putManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  manifest: StoredManifest,
): Promise<void> {
  const { digest, mediaType, bytes } = manifest
  const key = manifestKey(repository, digest)
  const header = encodeRecord({ mediaType, ...subjectOf(manifest) })
  const envelope = Buffer.concat([header, Buffer.from('\n'), bytes])
  await storage.objects.put(key, envelope)
}

function decodeManifest(
  envelope: Uint8Array,
  key: string,
): Pick<StoredManifest, 'mediaType' | 'bytes' | 'subject'> {
  const end = envelope.indexOf(0x0a)
  const { mediaType, subject } = decodeRecord(envelope.subarray(0, end), key)
  if (end === -1 || typeof mediaType !== 'string') {
    throw new OciError('unavailable', `Cannot read object "${key}": damaged`)
  }
  const bytes = envelope.subarray(end + 1)
  return {
    mediaType,
    bytes,
    ...(typeof subject === 'string' ? { subject: subject as Digest } : {}),
  }
}

function subjectOf(from: { readonly subject?: Digest }): { readonly subject?: Digest } {
  return from.subject === undefined ? {} : { subject: from.subject }
}

function digestOfPush(push: ManifestPush): Digest {
  const algorithm = push.digest === undefined ? 'sha256' : algorithmOf(push.digest)
  const actual = digestOf(push.bytes, algorithm)
  if (push.digest === undefined || push.digest === actual) return actual
  throw new ResourceError(
    'digest-mismatch manifest',
    `Cannot store manifest: expected digest "${push.digest}", got "${actual}"`,
    { detail: { expected: push.digest, actual } },
  )
}

/** Without tags a condition is about the manifest itself, whose bytes can only be the same ones. */
async function mustMeetCondition(
  storage: RegistryStorage,
  repository: RepositoryName,
  { digest, push }: { readonly digest: Digest; readonly push: ManifestPush },
): Promise<void> {
  const { condition } = push
  if (condition === undefined) return
  const exists = (await storage.objects.size(manifestKey(repository, digest))) !== undefined
  const met =
    condition.kind === 'absent'
      ? !exists
      : exists && (condition.digests.length === 0 || condition.digests.includes(digest))
  if (!met) {
    throw new ResourceError(
      'conflict precondition',
      `Cannot store manifest "${digest}": it does not match the condition of the request`,
    )
  }
}

async function mustHaveReferences(
  storage: RegistryStorage,
  repository: RepositoryName,
  document: ManifestDocument,
): Promise<void> {
  const missing: string[] = []
  const waiting = [...document.references]
  const check = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (!(await hasReference(storage, repository, next))) missing.push(next.digest)
    }
  }
  await Promise.all(Array.from({ length: 16 }, check))
  if (missing.length > 0) throw new MissingReferencesError(missing.sort())
}

async function hasReference(
  storage: RegistryStorage,
  repository: RepositoryName,
  reference: ReferredContent,
): Promise<boolean> {
  if (reference.kind === 'manifest') {
    return (await storage.objects.size(manifestKey(repository, reference.digest))) !== undefined
  }
  return (await findBlob(storage, repository, reference.digest))?.size === reference.size
}

/** A delete of the same manifest may have run in between; the tags we set must not dangle. */
async function restoreIfGone(
  storage: RegistryStorage,
  repository: RepositoryName,
  manifest: StoredManifest,
): Promise<void> {
  const size = await storage.objects.size(manifestKey(repository, manifest.digest))
  if (size === undefined) await putManifest(storage, repository, manifest)
}
