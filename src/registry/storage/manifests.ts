/**
 * Manifests: stored as the exact bytes that were pushed, with the type they were pushed as.
 *
 * 1. Order of creation: manifest, what it refers to is held, catalog, referrer and hint, tag. A crash
 *    leaves no tag that points at nothing, and none in a repository that is in no catalog.
 * 2. Order of deletion: tags, manifest: nothing points at what is gone. The rest is collected.
 * 3. A tag is one object and is changed by compare-and-swap.
 * 4. A push is acknowledged when its own version of the manifest was there from before its
 *    references were held until after its tags were set: whoever removes the manifest in between,
 *    or another push that replaced it and then failed, makes the push start over.
 * 5. A manifest whose version of an earlier push is replaced was there all the time, and so is what it
 *    needs (confirmed.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'
import { algorithmOf, type Digest, digestOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { askAhead } from './ask-ahead.ts'
import { atOnce } from './at-once.ts'
import { condemn, removeVersion, rescue } from './condemn.ts'
import { manifestKey, tagKey } from './keys.ts'
import { type ManifestDocument, parseManifestDocument } from './manifest-document.ts'
import { holdReferences } from './references.ts'
import { addReferrer, removeReferrer } from './referrers.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { addRepository } from './repositories.ts'
import { ResourceError } from './resource-error.ts'
import {
  findManifest,
  newManifest,
  putManifest,
  replaceManifest,
  type StoredManifest,
} from './stored-manifest.ts'
import { newTag, tagFrom } from './stored-tag.ts'
import type { TagCondition } from './tag-terms.ts'
import {
  hintTags,
  immutableTag,
  mayPutTag,
  type NotedWrite,
  putHintedTags,
  removeTagsOf,
  renewTags,
} from './tags.ts'
import { together } from './together.ts'

export interface ManifestPush {
  readonly bytes: Uint8Array
  /** Type it is pushed as, without parameters; empty when not said. */
  readonly contentType: string
  /** What the client says the digest is; its algorithm is kept. */
  readonly digest?: Digest
  readonly tags: readonly Tag[]
  readonly condition?: TagCondition
  /** Who pushes, when that is known. */
  readonly by?: string
  /** Whether tags that exist may be moved; default: they may. */
  readonly mayOverwrite?: boolean
  /** See {@link StoredManifest.upstream}. */
  readonly upstream?: string
}

export type ManifestReference =
  | { readonly kind: 'digest'; readonly digest: Digest }
  | { readonly kind: 'tag'; readonly tag: Tag }

/** Of pushes of one manifest that undo each other's last step, through several replicas. */
const maxAttempts = 20

/** Attempts, after which replicas that push at the same pace leave each other some time. */
const politeAfter = 2

/**
 * Stores a manifest and points the tags at it. Throws `invalid` or `digest-mismatch` of the
 * manifest, `MissingReferencesError`, a conflict of the precondition or of an immutable tag, or `denied`
 * of a tag that exists and may not be overwritten; of
 * several tags, those before the one in conflict are set.
 */
export async function pushManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  push: ManifestPush,
): Promise<StoredManifest> {
  const document = parseManifestDocument(push.bytes, push.contentType)
  const digest = digestOfPush(push)
  const { mediaType, subject } = document
  const manifest: StoredManifest = {
    digest,
    mediaType,
    bytes: push.bytes,
    ...field('subject', subject),
    ...field('upstream', push.upstream),
  }
  if (storage.policy.missingReferences === 'refuse') {
    await holdReferences(storage, repository, document)
  }
  // Nothing is stored for a push that cannot succeed; what decides is the write of the tag.
  const writes: NotedWrite[] = []
  for (const tag of push.tags) {
    const write = { tag, manifest, ...termsOf(push), by: push.by }
    const seen = await mayPutTag(storage, repository, write)
    writes.push({ ...write, seen, record: newTag(storage, { ...write, found: seen.found }) })
  }
  await storage.pushes.run(manifestKey(repository, digest), () =>
    together(storage, storage => settle(storage, repository, { push, writes, document, manifest })),
  )
  return manifest
}

interface ParsedPush {
  readonly push: ManifestPush
  /** Of its tags. */
  readonly writes: readonly NotedWrite[]
  readonly document: ManifestDocument
  readonly manifest: StoredManifest
}

async function settle(
  storage: RegistryStorage,
  repository: RepositoryName,
  { push, writes, document, manifest }: ParsedPush,
): Promise<void> {
  const { digest } = manifest
  const object = newManifest(storage, manifest)
  prepare(storage, [object, ...writes.map(({ record }) => record)])
  if (push.tags.length === 0) await mustMeetCondition(storage, repository, { digest, push })
  const known = knownVersion(storage, repository, { writes, manifest })
  if (known !== undefined && (await repeat(storage, repository, { writes, digest, object, known })))
    return
  // A tag that points at it was set when it was there.
  let isThere = writes.some(({ seen }) => seen.isGuess !== true && seen.found?.digest === digest)
  for (let attempt = known === undefined ? 0 : 1; attempt < maxAttempts; attempt++) {
    const version = attempt === 0 ? object : newManifest(storage, manifest)
    const parsed = { document, manifest, writes, object: version, isThere, attempt }
    if (await tryToStore(storage, repository, parsed)) return
    if (attempt >= politeAfter) await pause(Math.random() * Math.min(1000, 20 * 2 ** attempt))
    isThere = false
  }
  throw new OciError('unavailable', `Cannot store manifest "${digest}": it is pushed too often`)
}

interface Attempt extends Omit<ParsedPush, 'push'> {
  readonly object: Uint8Array
  readonly isThere: boolean
  /** From 0; in a later one the tags were set. */
  readonly attempt: number
}

/** Whether our version of the manifest was there from before its references were held until now. */
async function tryToStore(
  storage: RegistryStorage,
  repository: RepositoryName,
  { document, manifest, writes, object, isThere, attempt }: Attempt,
): Promise<boolean> {
  const { digest } = manifest
  const key = manifestKey(repository, digest)
  const { etag, isNew } = await putManifest(storage, repository, { digest, object, isThere })
  const newVersion = isNew ? etag : undefined
  await atOnce(
    storage,
    () => vouch(storage, repository, { document, manifest, newVersion }),
    () => (attempt === 0 ? hintTags(storage, repository, writes) : undefined),
  )
  const setTags = attempt === 0 ? putHintedTags : renewTags
  const { confirm, record } = await setTags(storage, repository, writes)
  const look = () => storage.objects.get(key)
  const finish = () => atOnce(storage, record, confirm)
  const [[, wereHinted], seen] = await atOnce(storage, finish, look)
  const found = wereHinted ? seen : await look()
  if (found?.etag !== etag) return false
  storage.confirmed.set(key, etag)
  return true
}

/** The version that was complete, of a manifest that all the tags point at already. */
function knownVersion(
  { objects, confirmed }: RegistryStorage,
  repository: RepositoryName,
  { writes, manifest }: Pick<ParsedPush, 'writes' | 'manifest'>,
): string | undefined {
  const { digest } = manifest
  const isRepeated = writes.every(({ seen }) => seen.found?.digest === digest)
  // A disk may have lost what such a version needs, and the push finds that out.
  return isRepeated && objects.isReliable
    ? confirmed.get(manifestKey(repository, digest))
    : undefined
}

interface Repetition {
  readonly writes: readonly NotedWrite[]
  readonly digest: Digest
  readonly object: Uint8Array
  /** See {@link knownVersion}. */
  readonly known: string
}

/**
 * A push of what is there: the tags first, which point at it already, then another version in the place
 * of the one that was complete: whoever removes that finds the tags. `false` when it is no longer there.
 */
async function repeat(
  storage: RegistryStorage,
  repository: RepositoryName,
  { writes, known, ...push }: Repetition,
): Promise<boolean> {
  const { confirm, record } = await putHintedTags(storage, repository, writes)
  await atOnce(storage, record, confirm)
  const etag = await replaceManifest(storage, repository, { ...push, etag: known })
  const key = manifestKey(repository, push.digest)
  if (etag === undefined) storage.confirmed.delete(key)
  else storage.confirmed.set(key, etag)
  return etag !== undefined
}

/** The disk has all of a push to do at once. */
function prepare(
  { objects }: RegistryStorage,
  objectsToPut: readonly (Uint8Array | undefined)[],
): void {
  for (const bytes of objectsToPut) if (bytes !== undefined) objects.prepare?.(bytes)
}

function termsOf({
  condition,
  mayOverwrite,
}: ManifestPush): Pick<NotedWrite, 'condition' | 'mayOverwrite'> {
  return { condition, mayOverwrite }
}

/** After the manifest is there: all that it needs. When that fails, a `newVersion` goes again. */
async function vouch(
  storage: RegistryStorage,
  repository: RepositoryName,
  version: Pick<ParsedPush, 'document' | 'manifest'> & { readonly newVersion: string | undefined },
): Promise<void> {
  const { document, manifest, newVersion } = version
  const { digest, bytes } = manifest
  try {
    await atOnce(
      storage,
      () => addRepository(storage, repository),
      () => holdReferences(storage, repository, document),
    )
  } catch (error) {
    if (newVersion !== undefined) {
      await removeVersion(storage, manifestKey(repository, digest), newVersion)
    }
    throw error
  }
  if (document.subject === undefined) return
  await addReferrer(storage, repository, { document, digest, size: bytes.length })
}

/** Throws `not-found` of the manifest; also for a tag that points at nothing. */
export async function readManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  reference: ManifestReference,
): Promise<StoredManifest> {
  const manifest =
    reference.kind === 'digest'
      ? await findHeld(storage, repository, reference.digest)
      : await findTagged(storage, repository, reference.tag)
  if (manifest !== undefined) return manifest
  const name = reference.kind === 'digest' ? reference.digest : reference.tag
  throw new ResourceError(
    'not-found manifest',
    `Cannot find manifest "${name}" in repository "${repository}"`,
    { detail: { reference: name } },
  )
}

/**
 * Removes a manifest and all tags that point at it. Throws `not-found`, and a conflict of the tag
 * when one of them is immutable: then nothing is removed.
 */
export async function deleteManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  deletion: { readonly digest: Digest; readonly by?: string },
): Promise<void> {
  const { digest } = deletion
  const { subject } = await readManifest(storage, repository, { kind: 'digest', digest })
  await together(storage, async storage => {
    await removeVersions(storage, repository, deletion)
    if (subject !== undefined) await removeReferrer(storage, repository, { subject, digest })
  })
}

async function removeVersions(
  storage: RegistryStorage,
  repository: RepositoryName,
  deletion: { readonly digest: Digest; readonly by?: string },
): Promise<void> {
  const { digest } = deletion
  const key = manifestKey(repository, digest)
  for (;;) {
    const seen = await storage.objects.get(key)
    if (seen === undefined) return
    // A push that comes now makes another version: it is seen below, and looked at anew.
    const condemned = await condemn(storage, key, seen)
    if (condemned === undefined) continue
    const immutable = await immutableTag(storage, repository, digest)
    if (immutable !== undefined) {
      await rescue(storage, key)
      throw immutable
    }
    await removeTagsOf(storage, repository, deletion)
    if (await removeVersion(storage, key, condemned)) return
  }
}

function findTagged(
  storage: RegistryStorage,
  repository: RepositoryName,
  tag: Tag,
): Promise<StoredManifest | undefined> {
  return askAhead(storage, tagKey(repository, tag), {
    next: async object => {
      const digest = tagFrom(object)?.digest
      return digest && findManifest(storage, repository, digest)
    },
  })
}

/** One that is asked for by its digest is relied on: an index that names it may come next. */
async function findHeld(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<StoredManifest | undefined> {
  const manifest = await findManifest(storage, repository, digest)
  if (manifest?.condemnedAt === undefined) return manifest
  const isThere = (await rescue(storage, manifestKey(repository, digest))) !== undefined
  return isThere ? manifest : undefined
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
