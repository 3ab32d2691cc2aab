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
import { isConfirmed } from './confirmed.ts'
import { tagHintKey, tagHintsPrefix, tagKey, tagsPrefix } from './keys.ts'
import { listAll } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'
import { newTag, type StoredTag, tagFrom } from './stored-tag.ts'
import {
  listRecordedChanges,
  maxTagChanges,
  type NewTagChange,
  recordTagChange,
  type TagChange,
} from './tag-history.ts'
import { isImmutable, mustAllow, refusal, type SeenTag, type TagWrite } from './tag-terms.ts'

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
  const guess = storage.guesses?.get(tagKey(repository, write.tag))
  if (guess !== undefined) {
    const found = tagFrom(guess)
    // What decides is the write; a refusal is of what is so.
    const mayBe = refusal(storage, repository, { ...write, found }) === undefined
    if (mayBe) return { etag: guess.etag, found, isGuess: true }
  }
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
  const { confirm, record } = await putHintedTags(storage, repository, writes)
  await confirm()
  await record()
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

/** What is left to do after tags were set. */
export interface TagsSet {
  /** Whether all hints were still there; those that were collected before the tag was there are again. */
  confirm(): Promise<boolean>
  /** What changed, into the history. */
  record(): Promise<void>
}

/** Sets each tag, after {@link hintTags}. Throws as {@link putTag}; those before it are set then. */
export async function putHintedTags(
  storage: RegistryStorage,
  repository: RepositoryName,
  writes: readonly NotedWrite[],
): Promise<TagsSet> {
  const set: SetTag[] = []
  try {
    for (const write of writes) set.push(await swapHintedTag(storage, repository, write))
  } catch (error) {
    const { confirm, record } = tagsSet(storage, repository, set)
    await confirm()
    await record()
    throw error
  }
  return tagsSet(storage, repository, set)
}

function tagsSet(
  storage: RegistryStorage,
  repository: RepositoryName,
  set: readonly SetTag[],
): TagsSet {
  return {
    confirm: async () => {
      const wereThere: boolean[] = []
      for (const tag of set) wereThere.push(await confirmHint(storage, repository, tag))
      return wereThere.every(wasThere => wasThere)
    },
    record: async () => {
      for (const { change } of set) {
        if (change !== undefined) await recordTagChange(storage, repository, change)
      }
    },
  }
}

interface SetTag {
  readonly write: NotedWrite
  readonly etag: string
  /** The tag that was there said the same, and its hint was. */
  readonly isHinted: boolean
  readonly change: NewTagChange | undefined
}

async function swapHintedTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  write: NotedWrite,
): Promise<SetTag> {
  const { tag, manifest, by, seen, record } = write
  const key = tagKey(repository, tag)
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const isFirst = attempt === 0
    const { etag: before, found } = isFirst ? seen : await seeTag(storage, repository, tag)
    mustAllow(storage, repository, { ...write, found })
    const next = isFirst ? record : newTag(storage, { ...write, found })
    const etag = await swapTag(storage, repository, { tag, etag: before, record: next })
    if (etag === undefined) continue
    const isSame = found?.digest === manifest.digest
    const isHinted = isSame && isConfirmed(storage.confirmed, key, found)
    const set = { write, etag, isHinted }
    // What an upstream did is not undone here, and its history would keep what nobody uses.
    if (manifest.upstream !== undefined || found === undefined || isSame) {
      return { ...set, change: undefined }
    }
    const { digest: from, created } = found
    return { ...set, change: defined({ tag, by, from, to: manifest.digest, created }) }
  }
  throw new OciError('unavailable', `Cannot set tag "${tag}": it is set too often`)
}

/** The hint of a tag that is set now; it may have been collected before. Returns whether it was there. */
async function confirmHint(
  storage: RegistryStorage,
  repository: RepositoryName,
  { write, etag, isHinted }: SetTag,
): Promise<boolean> {
  const { tag, manifest, record } = write
  const key = tagHintKey(repository, manifest.digest, tag)
  const isThere = isHinted || (await rescue(storage, key)) !== undefined
  if (!isThere) await makeOrRescue(storage, key, record)
  storage.confirmed.set(tagKey(repository, tag), etag)
  return isThere
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
): Promise<TagsSet> {
  const set: SetTag[] = []
  for (const write of writes) {
    const etag = await renewTag(storage, repository, write)
    if (etag !== undefined) set.push({ write, etag, isHinted: false, change: undefined })
  }
  return tagsSet(storage, repository, set)
}

/** See {@link renewTags}. Returns its etag, unless it points elsewhere. */
export async function renewTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  { tag, manifest, by }: TagWrite,
): Promise<string | undefined> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const found = await findTag(storage, repository, tag)
    if (found !== undefined && found.digest !== manifest.digest) return undefined
    const record = newTag(storage, { manifest, by, found })
    const etag = await swapTag(storage, repository, { tag, etag: found?.etag, record })
    if (etag !== undefined) return etag
  }
  return undefined
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

/** The etag of our version, if the tag's object was still the version `etag`, or still absent. */
async function swapTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  {
    tag,
    etag,
    record,
  }: Required<Pick<TagWrite, 'tag' | 'record'>> & { readonly etag: string | undefined },
): Promise<string | undefined> {
  const condition =
    etag === undefined ? ({ kind: 'absent' } as const) : ({ kind: 'matches', etag } as const)
  // A power failure must not leave a tag that was there pointing at what it took.
  if (etag !== undefined) await storage.objects.settle?.()
  const key = tagKey(repository, tag)
  try {
    const put = await storage.objects.put(key, record, { condition })
    storage.guesses?.set(key, { bytes: record, etag: put })
    return put
  } catch (error) {
    storage.guesses?.delete(key)
    if (hasCode(error, 'conflict')) return undefined
    throw error
  }
}

/** Without the members that are `undefined`. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
