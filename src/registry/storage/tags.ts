/**
 * Tags: one object each, so that two pushes never rewrite each other's.
 *
 * `_mt/<digest>/<tag>` is written before a tag points at the digest and never trusted: deleting a
 * manifest finds its tags there, in as many steps as it has tags, and checks each.
 */
import { type Digest, parseDigest } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { tagHintKey, tagHintsPrefix, tagKey, tagsPrefix } from './keys.ts'
import { type Condition, listAll } from './object-store.ts'
import { encodeRecord, readRecord } from './records.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'

export interface StoredTag {
  readonly digest: Digest
  readonly etag: string
}

/** What must be true of a tag for it to be set, decided and written as one step. */
export type TagCondition =
  | { readonly kind: 'absent' }
  /** It must point at one of these; none listed: at anything. */
  | { readonly kind: 'points-at'; readonly digests: readonly string[] }

export interface TagWrite {
  readonly tag: Tag
  readonly manifest: {
    readonly digest: Digest
    readonly mediaType: string
    readonly bytes: Uint8Array
  }
  readonly condition: TagCondition | undefined
}

export async function findTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  tag: Tag,
): Promise<StoredTag | undefined> {
  const record = await readRecord(storage.objects, tagKey(repository, tag))
  if (record === undefined) return undefined
  const { digest } = record.value
  if (typeof digest !== 'string') return undefined
  return { digest: parseDigest(digest), etag: record.etag }
}

/** Points the tag at the manifest. Throws a conflict of the precondition, changing nothing. */
export async function putTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  { tag, manifest, condition }: TagWrite,
): Promise<void> {
  const { digest, mediaType, bytes } = manifest
  const expected = await objectCondition(storage, { repository, tag, condition })
  await storage.objects.put(tagHintKey(repository, digest, tag), new Uint8Array())
  const pushedAt = storage.now().toISOString()
  const record = encodeRecord({ digest, mediaType, size: bytes.length, pushedAt })
  try {
    await storage.objects.put(tagKey(repository, tag), record, expected)
  } catch (error) {
    throw hasCode(error, 'conflict') ? preconditionFailed(tag) : error
  }
}

/** Up to `max` tags after `last` in the order of their bytes. */
export async function listTags(
  storage: RegistryStorage,
  repository: RepositoryName,
  page: { readonly last: string; readonly max: number },
): Promise<string[]> {
  const prefix = tagsPrefix(repository)
  const keys = await storage.objects.list(prefix, { startAfter: prefix + page.last, max: page.max })
  return keys.map(key => key.slice(prefix.length))
}

/** Throws `not-found` of the manifest. */
export async function deleteTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  tag: Tag,
): Promise<void> {
  const found = await findTag(storage, repository, tag)
  if (found === undefined) {
    throw new ResourceError('not-found manifest', `Cannot find tag "${tag}" in "${repository}"`, {
      detail: { tag },
    })
  }
  await storage.objects.delete(tagKey(repository, tag))
  await storage.objects.delete(tagHintKey(repository, found.digest, tag))
}

/** Removes every tag that points at `digest`; one that was moved meanwhile stays. */
export async function removeTagsOf(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<void> {
  const prefix = tagHintsPrefix(repository, digest)
  for await (const key of listAll(storage.objects, prefix)) {
    await removeIfPointingAt(storage, tagKey(repository, key.slice(prefix.length) as Tag), digest)
    await storage.objects.delete(key)
  }
}

async function removeIfPointingAt(
  storage: RegistryStorage,
  key: string,
  digest: Digest,
): Promise<void> {
  const record = await readRecord(storage.objects, key)
  if (record === undefined) return
  const { digest: current } = record.value
  if (current !== digest) return
  try {
    await storage.objects.delete(key, { kind: 'matches', etag: record.etag })
  } catch (error) {
    if (!hasCode(error, 'conflict')) throw error
  }
}

async function objectCondition(
  storage: RegistryStorage,
  wanted: {
    readonly repository: RepositoryName
    readonly tag: Tag
    readonly condition: TagCondition | undefined
  },
): Promise<{ condition?: Condition }> {
  const { repository, tag, condition } = wanted
  if (condition === undefined) return {}
  const found = await findTag(storage, repository, tag)
  if (condition.kind === 'absent') {
    if (found !== undefined) throw preconditionFailed(tag)
    return { condition: { kind: 'absent' } }
  }
  const { digests } = condition
  if (found === undefined || (digests.length > 0 && !digests.includes(found.digest))) {
    throw preconditionFailed(tag)
  }
  return { condition: { kind: 'matches', etag: found.etag } }
}

function preconditionFailed(tag: Tag): ResourceError {
  return new ResourceError(
    'conflict precondition',
    `Cannot set tag "${tag}": it does not match the condition of the request`,
    { detail: { tag } },
  )
}
