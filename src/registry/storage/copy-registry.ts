/**
 * A registry's content into another store, one that may be served meanwhile: every blob and manifest
 * by the same steps as a push, so all is verified, and what a run left undone the next one finds.
 *
 * Order: of each repository its blobs, its manifests (those that others name first), its tags. A tag
 * that the target has already stays. What the tags pointed at before, and when they were set, comes
 * along; uploads under way do not.
 */
import type { Digest } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { findBlob, openBlob } from './blobs.ts'
import { makeOrRescue } from './condemn.ts'
import { catalogPrefix, nameFromListed, repositoryPrefix, tagHintKey, tagKey } from './keys.ts'
import { parseManifestDocument } from './manifest-document.ts'
import { pushManifest } from './manifests.ts'
import { listAll } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { findManifest, type ManifestVersion } from './stored-manifest.ts'
import { findTag, listTags } from './tags.ts'
import { uploadWhole } from './uploads.ts'

export type CopyEvent =
  | {
      readonly kind: 'blob'
      readonly repository: RepositoryName
      readonly digest: Digest
      readonly size: number
    }
  | { readonly kind: 'manifest'; readonly repository: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'tag'; readonly repository: RepositoryName; readonly tag: Tag }
  /** Missing or damaged at the source; what names it is not copied. */
  | { readonly kind: 'damaged'; readonly repository: RepositoryName; readonly digest: Digest }

export interface CopyOptions {
  readonly onEvent: (event: CopyEvent) => void
  readonly signal: AbortSignal
}

interface Copy extends CopyOptions {
  readonly from: RegistryStorage
  readonly to: RegistryStorage
}

/** Tells what it copied; what the target has already is passed over without a word. */
export async function copyRegistry(
  from: RegistryStorage,
  to: RegistryStorage,
  options: CopyOptions,
): Promise<void> {
  const copy: Copy = { ...options, from, to }
  for await (const listed of listAll(from.objects, catalogPrefix)) {
    const repository = nameFromListed(listed.slice(catalogPrefix.length))
    await copyBlobs(copy, repository)
    await copyManifests(copy, repository)
    await copyHistory(copy, repository)
    await copyTags(copy, repository)
  }
}

const atOnce = 4

async function copyBlobs(copy: Copy, repository: RepositoryName): Promise<void> {
  const links = listAll(copy.from.objects, repositoryPrefix(repository, '_b'))
  const work = async () => {
    for (let next = await links.next(); next.done !== true; next = await links.next()) {
      copy.signal.throwIfAborted()
      await copyBlob(copy, repository, lastPart(next.value) as Digest)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

async function copyBlob(copy: Copy, repository: RepositoryName, digest: Digest): Promise<void> {
  const { from, to, onEvent } = copy
  const there = await findBlob(to, repository, digest)
  const blob = await findBlob(from, repository, digest)
  if (there !== undefined && (blob === undefined || there.size === blob.size)) return
  try {
    if (blob === undefined) return onEvent({ kind: 'damaged', repository, digest })
    await uploadWhole(to, repository, {
      digest,
      bytes: await openBlob(from, blob),
      size: blob.size,
    })
    onEvent({ kind: 'blob', repository, digest, size: blob.size })
  } catch (error) {
    if (!hasCode(error, 'digest-mismatch') && !hasCode(error, 'not-found')) throw error
    onEvent({ kind: 'damaged', repository, digest })
  }
}

async function copyManifests(copy: Copy, repository: RepositoryName): Promise<void> {
  const prefix = repositoryPrefix(repository, '_m')
  const waiting = new Set<Digest>()
  for await (const key of listAll(copy.from.objects, prefix)) waiting.add(lastPart(key) as Digest)
  for (const digest of waiting) await copyManifest(copy, repository, { digest, waiting })
}

interface ManifestToCopy {
  readonly digest: Digest
  /** Those of the repository that are not copied yet. */
  readonly waiting: Set<Digest>
}

/** Children first: a target that refuses missing references takes them in this order only. */
async function copyManifest(
  copy: Copy,
  repository: RepositoryName,
  { digest, waiting }: ManifestToCopy,
): Promise<void> {
  const { from, to, onEvent } = copy
  copy.signal.throwIfAborted()
  waiting.delete(digest)
  const manifest = await findManifest(from, repository, digest)
  if (manifest === undefined) return onEvent({ kind: 'damaged', repository, digest })
  for (const child of childrenOf(manifest)) {
    if (waiting.has(child)) await copyManifest(copy, repository, { digest: child, waiting })
  }
  if ((await findManifest(to, repository, digest)) !== undefined) return
  const { bytes, mediaType } = manifest
  await pushManifest(to, repository, { bytes, contentType: mediaType, digest, tags: [] })
  onEvent({ kind: 'manifest', repository, digest })
}

function childrenOf({ bytes, mediaType }: ManifestVersion): Digest[] {
  return parseManifestDocument(bytes, mediaType).references.flatMap(({ kind, digest }) =>
    kind === 'manifest' ? [digest] : [],
  )
}

/** Before the tags, so that a tag is never there without what it was. */
async function copyHistory({ from, to, signal }: Copy, repository: RepositoryName): Promise<void> {
  for await (const key of listAll(from.objects, repositoryPrefix(repository, '_th'))) {
    signal.throwIfAborted()
    const change = await from.objects.get(key)
    if (change !== undefined) await makeOrRescue(to, key, change.bytes)
  }
}

async function copyTags(copy: Copy, repository: RepositoryName): Promise<void> {
  let last = ''
  for (;;) {
    const tags = await listTags(copy.from, repository, { last, max: 1000 })
    for (const tag of tags) await copyTag(copy, repository, tag as Tag)
    last = tags.at(-1) ?? ''
    if (tags.length < 1000) return
  }
}

/** The object as it is, with the time that retention goes by. */
async function copyTag(copy: Copy, repository: RepositoryName, tag: Tag): Promise<void> {
  const { from, to, signal, onEvent } = copy
  signal.throwIfAborted()
  const [found, object, existing] = await Promise.all([
    findTag(from, repository, tag),
    from.objects.get(tagKey(repository, tag)),
    findTag(to, repository, tag),
  ])
  if (found === undefined || object === undefined || existing !== undefined) return
  if ((await findManifest(to, repository, found.digest)) === undefined) return
  await makeOrRescue(to, tagHintKey(repository, found.digest, tag), new Uint8Array())
  await makeOrRescue(to, tagKey(repository, tag), object.bytes)
  onEvent({ kind: 'tag', repository, tag })
}

function lastPart(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}
