/**
 * Garbage of one repository: links to blobs that no manifest names, manifests that nothing leads to
 * (where that is asked for), tags that retention lets go, and what refers to what is gone.
 *
 * The order is the proof (condemn.ts): what may be removed is looked at first, then what needs it.
 */
import type { Digest } from '../../../oci/digest.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import { sentenceOf } from '../condemn.ts'
import { catalogKey, repositoryPrefix } from '../keys.ts'
import { listAll } from '../object-store.ts'
import { decodeRecord } from '../records.ts'
import { collectTags, type RepositoryTags } from './collect-tags.ts'
import { type Collection, judge, type Seen, sweepUnlessNeeded } from './collection.ts'
import { type ManifestNodes, readManifests } from './manifest-graph.ts'
import { type RetentionRule, ruleFor } from './retention-rules.ts'

/** Returns `false` when a damaged manifest stood in the way: then nothing that it may name goes. */
export async function collectRepository(
  run: Collection,
  repository: RepositoryName,
): Promise<boolean> {
  const before = await readManifests(run, repository)
  const links = await readLinks(run, repository)
  if (before === undefined) return false
  const rule = ruleFor(run.retention ?? [], repository)
  const tags = await collectTags(run, repository, rule)
  const now = await readManifests(run, repository, before)
  if (now === undefined) return false
  await judgeManifests(run, repository, { before, now, tags, rule })
  await judgeLinks(run, repository, { links, now })
  await sweepReferrers(run, repository)
  await sweepCatalog(run, repository)
  return true
}

interface Link extends Seen {
  readonly digest: Digest
}

async function readLinks(run: Collection, repository: RepositoryName): Promise<Link[]> {
  const prefix = repositoryPrefix(repository, '_b')
  const links: Link[] = []
  for await (const key of listAll(run.storage.objects, prefix)) {
    run.signal?.throwIfAborted()
    const object = await run.storage.objects.get(key)
    if (object === undefined) continue
    const { linkedAt } = decodeRecord(object.bytes) ?? {}
    links.push({
      key,
      etag: object.etag,
      condemnedAt: sentenceOf(object.bytes)?.at,
      since: typeof linkedAt === 'number' ? linkedAt : 0,
      digest: key.slice(prefix.length) as Digest,
    })
  }
  return links
}

interface ManifestsToJudge {
  readonly before: ManifestNodes
  readonly now: ManifestNodes
  readonly tags: RepositoryTags
  readonly rule: RetentionRule | undefined
}

/** A manifest stays while a tag or the time machine points at it, an index names it, its subject is there. */
async function judgeManifests(
  run: Collection,
  repository: RepositoryName,
  { before, now, tags, rule }: ManifestsToJudge,
): Promise<void> {
  const pushedMs = rule?.untaggedMs ?? (run.deleteUntagged === true ? run.graceMs : undefined)
  const copiesMs = run.unusedCopiesMs?.(repository)
  const children = new Set([...now.values()].flatMap(node => node.children))
  for (const node of before.values()) {
    const { digest, subject } = node
    const untaggedMs = (node.isCopy ? copiesMs : undefined) ?? pushedMs
    const isNeeded =
      untaggedMs === undefined ||
      tags.pointedAt.has(digest) ||
      children.has(digest) ||
      (subject !== undefined && now.has(subject))
    await judge(run, node, { kind: 'manifest', repository, digest, isNeeded, afterMs: untaggedMs })
  }
}

async function judgeLinks(
  run: Collection,
  repository: RepositoryName,
  { links, now }: { readonly links: readonly Link[]; readonly now: ManifestNodes },
): Promise<void> {
  const named = new Set<Digest>()
  for (const node of now.values()) for (const digest of node.blobs) named.add(digest)
  for (const link of links) {
    const { digest } = link
    await judge(run, link, { kind: 'link', repository, digest, isNeeded: named.has(digest) })
  }
}

/** Descriptors in lists of referrers whose manifest is gone. */
async function sweepReferrers(run: Collection, repository: RepositoryName): Promise<void> {
  const manifests = repositoryPrefix(repository, '_m')
  for await (const key of listAll(run.storage.objects, repositoryPrefix(repository, '_r'))) {
    const manifest = manifests + key.slice(key.lastIndexOf('/') + 1)
    const isNeeded = async () => (await run.storage.objects.size(manifest)) !== undefined
    await sweepUnlessNeeded(run, { key, isNeeded }, { kind: 'hint', repository })
  }
}

async function sweepCatalog(run: Collection, repository: RepositoryName): Promise<void> {
  const prefix = repositoryPrefix(repository, '_m')
  const isNeeded = async () => (await run.storage.objects.list(prefix, { max: 1 })).length > 0
  const key = catalogKey(repository)
  if ((await run.storage.objects.size(key)) === undefined) return
  await sweepUnlessNeeded(run, { key, isNeeded }, { kind: 'repository', repository })
}
