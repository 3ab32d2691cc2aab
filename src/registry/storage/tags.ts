/**
 * Tags: one object each, so that two pushes never rewrite each other's.
 *
 * 1. A tag is changed by compare-and-swap on its object: immutable tags and clients' conditions are
 *    decided by the write itself, and the history is what happened.
 * 2. `_mt/<digest>/<tag>` is written before a tag points at the digest and never trusted: deleting a
 *    manifest finds its tags there, in as many steps as it has tags, and checks each.
 */
import type { Digest } from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { makeOrRescue, removeVersion, rescue } from './condemn.ts'
import { tagHintKey, tagHintsPrefix, tagKey, tagsPrefix } from './keys.ts'
import { listAll } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'
import { newTag, type StoredTag, type TaggedManifest, tagFrom } from './stored-tag.ts'
import {
  listRecordedChanges,
  maxTagChanges,
  type NewTagChange,
  recordTagChange,
  type TagChange,
} from './tag-history.ts'

/** What must be true of a tag for it to be set, decided and written as one step. */
export type TagCondition =
  | { readonly kind: 'absent' }
  /** It must point at one of these; none listed: at anything. */
  | { readonly kind: 'points-at'; readonly digests: readonly string[] }

export interface TagWrite {
  readonly tag: Tag
  readonly manifest: TaggedManifest
  readonly condition?: TagCondition | undefined
  /** Whether a tag that exists may be moved; default: it may. */
  readonly mayOverwrite?: boolean | undefined
  readonly by?: string | undefined
  /** The tag as it was a moment ago: the first attempt does without looking. */
  readonly seen?: SeenTag
  /** Of {@link newTag}, for the first attempt. */
  readonly record?: Uint8Array
}

export interface SeenTag {
  /** Also of an object that says nothing; `undefined` when there is none. */
  readonly etag: string | undefined
  readonly found: StoredTag | undefined
}

export async function findTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  tag: Tag,
): Promise<StoredTag | undefined> {
  return (await seeTag(storage, repository, tag)).found
}

async function seeTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  tag: Tag,
): Promise<SeenTag> {
  const object = await storage.objects.get(tagKey(repository, tag))
  return { etag: object?.etag, found: tagFrom(object) }
}

/**
 * Whether {@link putTag} could set the tag as it is now, and how it is. Throws a conflict of the
 * precondition, or of the tag when it is immutable and points elsewhere, or `denied` when the writer
 * may not move it.
 */
export async function mayPutTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  write: TagWrite,
): Promise<SeenTag> {
  const seen = await seeTag(storage, repository, write.tag)
  mustAllow(storage, repository, { ...write, found: seen.found })
  return seen
}

/** Of writers of one tag in several replicas: each round some writer succeeds. */
const maxAttempts = 100

/** Points the tag at the manifest. Throws as {@link mayPutTag}, changing nothing. */
export async function putTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  write: TagWrite,
): Promise<void> {
  const { seen = await seeTag(storage, repository, write.tag) } = write
  const writes = [{ ...write, seen, record: newTag(storage, { ...write, found: seen.found }) }]
  await hintTags(storage, repository, writes)
  await (await putHintedTags(storage, repository, writes))()
}

/** Before the tags: who deletes the manifest finds them by it. */
export async function hintTags(
  storage: RegistryStorage,
  repository: RepositoryName,
  writes: readonly NotedWrite[],
): Promise<void> {
  for (const { tag, manifest, seen, record } of writes) {
    // A tag that points there has its hint.
    if (seen?.found?.digest === manifest.digest) continue
    // The tag's bytes, as its own mean nothing: in a folder they are one file with two names.
    await makeOrRescue(storage, tagHintKey(repository, manifest.digest, tag), record)
  }
}

export type NotedWrite = TagWrite & Required<Pick<TagWrite, 'record' | 'seen'>>

/**
 * As {@link putTag} for each, after {@link hintTags}; but what changed is recorded by whoever calls what
 * this returns.
 */
export async function putHintedTags(
  storage: RegistryStorage,
  repository: RepositoryName,
  writes: readonly NotedWrite[],
): Promise<() => Promise<void>> {
  const changes: NewTagChange[] = []
  const record = async () => {
    for (const change of changes) await recordTagChange(storage, repository, change)
  }
  try {
    for (const write of writes) {
      const change = await swapHintedTag(storage, repository, write)
      if (change !== undefined) changes.push(change)
    }
  } catch (error) {
    await record()
    throw error
  }
  return record
}

async function swapHintedTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  write: NotedWrite,
): Promise<NewTagChange | undefined> {
  const { tag, manifest, by, seen, record } = write
  const hint = tagHintKey(repository, manifest.digest, tag)
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const isFirst = attempt === 0
    const { etag, found } = isFirst ? seen : await seeTag(storage, repository, tag)
    mustAllow(storage, repository, { ...write, found })
    const next = isFirst ? record : newTag(storage, { ...write, found })
    if (!(await swapTag(storage, repository, { tag, etag, record: next }))) continue
    // It may have been collected before the tag was there.
    if ((await rescue(storage, hint)) === undefined) {
      await storage.objects.put(hint, record)
    }
    // What an upstream did is not undone here, and its history would keep what nobody uses.
    if (manifest.upstream !== undefined) return undefined
    if (found === undefined || found.digest === manifest.digest) return undefined
    const { digest: from, created } = found
    return defined({ tag, by, from, to: manifest.digest, created })
  }
  throw new OciError('unavailable', `Cannot set tag "${tag}": it is set too often`)
}

/**
 * After the manifest was removed and is there again: each tag, if it still points at it or was removed
 * with it, is made another version, which nobody removes that saw it point at nothing. There is nothing
 * to record.
 */
export async function renewTags(
  storage: RegistryStorage,
  repository: RepositoryName,
  writes: readonly NotedWrite[],
): Promise<() => Promise<void>> {
  for (const write of writes) await renewTag(storage, repository, write)
  return async () => {}
}

/** See {@link renewTags}. */
export async function renewTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  { tag, manifest, by }: TagWrite,
): Promise<void> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const found = await findTag(storage, repository, tag)
    if (found !== undefined && found.digest !== manifest.digest) return
    const record = newTag(storage, { manifest, by, found })
    if (await swapTag(storage, repository, { tag, etag: found?.etag, record })) return
  }
}

/** The newest changes, newest first. */
export async function listTagChanges(
  storage: RegistryStorage,
  repository: RepositoryName,
  tag: Tag,
): Promise<TagChange[]> {
  const found = await findTag(storage, repository, tag)
  const recorded = await listRecordedChanges(storage, repository, tag)
  if (found?.created === undefined) return recorded
  return [{ ...found.created, to: found.digest }, ...recorded].slice(0, maxTagChanges)
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

/** Throws `not-found` of the manifest, and a conflict of the tag when it is immutable. */
export async function deleteTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  { tag, by }: { readonly tag: Tag; readonly by?: string },
): Promise<void> {
  for (;;) {
    const found = await findTag(storage, repository, tag)
    if (found === undefined) {
      throw new ResourceError('not-found manifest', `Cannot find tag "${tag}" in "${repository}"`, {
        detail: { tag },
      })
    }
    if (storage.policy.isImmutable(repository, tag)) throw isImmutable(tag)
    if (await removeTag(storage, repository, { tag, found, ...defined({ by }) })) return
  }
}

/** Removes the version `found`; returns whether it did, and not when it was moved meanwhile. */
export async function removeTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  removal: { readonly tag: Tag; readonly found: StoredTag; readonly by?: string },
): Promise<boolean> {
  const { tag, found, by } = removal
  if (!(await removeVersion(storage, tagKey(repository, tag), found.etag))) return false
  if (found.upstream !== undefined) return true
  const { digest: from, created } = found
  await recordTagChange(storage, repository, defined({ tag, by, from, created }))
  return true
}

/** Removes every tag that points at `digest`; one that was moved meanwhile stays. */
export async function removeTagsOf(
  storage: RegistryStorage,
  repository: RepositoryName,
  { digest, by }: { readonly digest: Digest; readonly by?: string },
): Promise<void> {
  for await (const tag of hintedTags(storage, repository, digest)) {
    const found = await findTag(storage, repository, tag)
    if (found?.digest !== digest) continue
    await removeTag(storage, repository, { tag, found, ...defined({ by }) })
  }
}

/** The failure for an immutable tag that points at `digest`, if there is one. */
export async function immutableTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<ResourceError | undefined> {
  for await (const tag of hintedTags(storage, repository, digest)) {
    if (!storage.policy.isImmutable(repository, tag)) continue
    if ((await findTag(storage, repository, tag))?.digest === digest) return isImmutable(tag)
  }
  return undefined
}

async function* hintedTags(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): AsyncGenerator<Tag> {
  const prefix = tagHintsPrefix(repository, digest)
  for await (const key of listAll(storage.objects, prefix)) yield key.slice(prefix.length) as Tag
}

/** Whether the tag's object was still the version `etag`, or still absent, and is ours now. */
async function swapTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  {
    tag,
    etag,
    record,
  }: Required<Pick<TagWrite, 'tag' | 'record'>> & { readonly etag: string | undefined },
): Promise<boolean> {
  const condition =
    etag === undefined ? ({ kind: 'absent' } as const) : ({ kind: 'matches', etag } as const)
  // A power failure must not leave a tag that was there pointing at what it took.
  if (etag !== undefined) await storage.objects.settle?.()
  try {
    await storage.objects.put(tagKey(repository, tag), record, { condition })
    return true
  } catch (error) {
    if (hasCode(error, 'conflict')) return false
    throw error
  }
}

function mustAllow(
  storage: RegistryStorage,
  repository: RepositoryName,
  {
    tag,
    manifest,
    condition,
    mayOverwrite,
    found,
  }: TagWrite & { readonly found: StoredTag | undefined },
): void {
  if (condition?.kind === 'absent' && found !== undefined) throw preconditionFailed(tag)
  if (condition?.kind === 'points-at') {
    const { digests } = condition
    const isMet = found !== undefined && (digests.length === 0 || digests.includes(found.digest))
    if (!isMet) throw preconditionFailed(tag)
  }
  // Once more the same is no change: a client that lost the answer may repeat its push.
  if (found === undefined || found.digest === manifest.digest) return
  if (storage.policy.isImmutable(repository, tag)) throw isImmutable(tag)
  if (mayOverwrite === false) throw isNotTheirs(tag)
}

function isImmutable(tag: Tag): ResourceError {
  return new ResourceError('conflict tag', `Cannot change tag "${tag}": it is immutable`, {
    detail: { tag },
  })
}

function isNotTheirs(tag: Tag): ResourceError {
  return new ResourceError(
    'denied tag',
    `Cannot change tag "${tag}": it exists, and you may create tags but not overwrite them`,
    { detail: { tag } },
  )
}

function preconditionFailed(tag: Tag): ResourceError {
  return new ResourceError(
    'conflict precondition',
    `Cannot set tag "${tag}": it does not match the condition of the request`,
    { detail: { tag } },
  )
}

/** Without the members that are `undefined`. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
