/** Tags: those that retention lets go, those that point at nothing, their hints and their history. */
import type { Digest } from '../../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../../oci/reference.ts'
import { manifestKey, repositoryPrefix } from '../keys.ts'
import { listAll } from '../object-store.ts'
import type { StoredTag } from '../stored-tag.ts'
import { findTag, removeTag } from '../tags.ts'
import { collectHistory } from './collect-history.ts'
import { type Collection, sweepUnlessNeeded } from './collection.ts'
import { expiredTags, type RetentionRule } from './retention-rules.ts'

export interface RepositoryTags {
  /** What the tags point at, and what they pointed at as far as the time machine goes. */
  readonly pointedAt: ReadonlySet<Digest>
}

type NamedTag = StoredTag & { readonly tag: Tag }

export async function collectTags(
  run: Collection,
  repository: RepositoryName,
  rule: RetentionRule | undefined,
): Promise<RepositoryTags> {
  const tags = await readTags(run, repository)
  const expired = new Set(rule === undefined ? [] : expiredTags(rule, tags, run.startedAt))
  const kept: NamedTag[] = []
  for (const tag of tags) {
    const isExpired = expired.has(tag) || isUnusedCopy(run, repository, tag)
    const mayGo = isExpired && !run.storage.policy.isImmutable(repository, tag.tag)
    const isOver = mayGo || (await isDangling(run, repository, tag))
    if (!isOver || !(await remove(run, repository, tag))) kept.push(tag)
  }
  await sweepHints(run, repository, tags)
  const pointedAt = await collectHistory(run, repository)
  // Read after the manifests were: a tag that came since is among them, or its push says so itself.
  for (const tag of kept) pointedAt.add(tag.digest)
  return { pointedAt }
}

async function readTags(run: Collection, repository: RepositoryName): Promise<NamedTag[]> {
  const prefix = repositoryPrefix(repository, '_t')
  const tags: NamedTag[] = []
  for await (const key of listAll(run.storage.objects, prefix)) {
    run.signal?.throwIfAborted()
    const tag = key.slice(prefix.length) as Tag
    const found = await findTag(run.storage, repository, tag)
    if (found !== undefined) tags.push({ ...found, tag })
  }
  return tags
}

async function remove(
  run: Collection,
  repository: RepositoryName,
  found: NamedTag,
): Promise<boolean> {
  const { tag, digest } = found
  const isRemoved =
    run.dryRun === true ||
    (await removeTag(run.storage, repository, { tag, found, by: 'retention' }))
  if (isRemoved) run.onEvent?.({ kind: 'tag', action: 'remove', repository, tag, digest })
  return isRemoved
}

/** Of a copy the time is when it was last used (server/upstream/use.ts). */
function isUnusedCopy(
  run: Collection,
  repository: RepositoryName,
  { upstream, pushedAt }: NamedTag,
): boolean {
  const unusedMs = run.unusedCopiesMs?.(repository)
  return upstream !== undefined && unusedMs !== undefined && run.startedAt - pushedAt >= unusedMs
}

/** A push that was killed while its manifest was deleted can leave one. */
async function isDangling(
  run: Collection,
  repository: RepositoryName,
  { digest, pushedAt }: NamedTag,
): Promise<boolean> {
  if (run.startedAt - pushedAt < run.graceMs) return false
  return (await run.storage.objects.size(manifestKey(repository, digest))) === undefined
}

/** `_mt/<digest>/<tag>` of tags that point elsewhere by now. */
async function sweepHints(
  run: Collection,
  repository: RepositoryName,
  tags: readonly NamedTag[],
): Promise<void> {
  const pointing = new Map(tags.map(({ tag, digest }) => [tag, digest]))
  const prefix = repositoryPrefix(repository, '_mt')
  for await (const key of listAll(run.storage.objects, prefix)) {
    const [digest, tag] = key.slice(prefix.length).split('/') as [Digest, Tag]
    if (pointing.get(tag) === digest) continue
    const isNeeded = async () => (await findTag(run.storage, repository, tag))?.digest === digest
    await sweepUnlessNeeded(run, { key, isNeeded }, { kind: 'hint', repository, tag })
  }
}
