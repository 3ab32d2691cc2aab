/**
 * A registry's content into a store, one that may be served meanwhile: every blob and manifest by the
 * same steps as a push, so all is verified, and what a run left undone the next one finds.
 *
 * Order: of each repository its blobs, its manifests (those that others name first), its tags. A tag
 * that the target has already stays. What the tags pointed at before, and when they were set, comes
 * along where the source has it; uploads under way do not.
 */
import type { Digest } from '../../../oci/digest.ts'
import { hasCode, OciError } from '../../../oci/errors.ts'
import type { RepositoryName, Tag } from '../../../oci/reference.ts'
import { findBlob, holdersOf, linkBlob } from '../blobs.ts'
import { makeOrRescue } from '../condemn.ts'
import { tagHintKey, tagKey } from '../keys.ts'
import { type ManifestDocument, parseManifestDocument } from '../manifest-document.ts'
import { pushManifest } from '../manifests.ts'
import type { RegistryStorage } from '../registry-storage.ts'
import { findManifest } from '../stored-manifest.ts'
import { encodeTag } from '../stored-tag.ts'
import { findTag } from '../tags.ts'
import { uploadWhole } from '../uploads.ts'
import type { CopySource, SourceBlob, SourceFault, SourceTag } from './copy-source.ts'

export type CopyEvent =
  | {
      readonly kind: 'blob'
      readonly repository: RepositoryName
      readonly digest: Digest
      /** Bytes that were copied: none when another repository of the target had them. */
      readonly size: number
    }
  | { readonly kind: 'manifest'; readonly repository: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'tag'; readonly repository: RepositoryName; readonly tag: Tag }
  /** Missing, damaged or of a kind that we do not store; what is said of it is for people. */
  | {
      readonly kind: 'damaged'
      readonly repository: string
      readonly what: string
      readonly reason: string
    }
  /** Damaged, and copied all the same from what else is there. */
  | {
      readonly kind: 'mended'
      readonly repository: string
      readonly what: string
      readonly reason: string
    }

export interface CopyOptions {
  readonly onEvent: (event: CopyEvent) => void
  readonly signal: AbortSignal
}

interface Copy extends CopyOptions {
  readonly from: CopySource
  readonly to: RegistryStorage
}

/** Tells what it copied; what the target has already is passed over without a word. */
export async function copyRegistry(
  from: CopySource,
  to: RegistryStorage,
  options: CopyOptions,
): Promise<void> {
  const copy: Copy = { ...options, from, to }
  const onFault = (name: string, fault: SourceFault) => tell(copy, name, fault)
  for await (const repository of from.repositories(onFault)) {
    await copyBlobs(copy, repository)
    await copyManifests(copy, repository)
    for await (const { key, bytes } of from.history(repository)) {
      options.signal.throwIfAborted()
      await makeOrRescue(to, key, bytes)
    }
    // After the history, so that a tag is never there without what it was.
    const tags = from.tags(repository, fault => tell(copy, repository, fault))
    for await (const tag of tags) await copyTag(copy, repository, tag)
  }
}

function tell({ onEvent }: Copy, repository: string, { isMended, ...fault }: SourceFault): void {
  onEvent({ kind: isMended ? 'mended' : 'damaged', repository, ...fault })
}

const atOnce = 4

async function copyBlobs(copy: Copy, repository: RepositoryName): Promise<void> {
  const digests = copy.from.blobs(repository)[Symbol.asyncIterator]()
  const work = async () => {
    for (let next = await digests.next(); next.done !== true; next = await digests.next()) {
      copy.signal.throwIfAborted()
      await copyBlob(copy, repository, next.value)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

/** One that is missing is told of with the manifest that names it: else nobody misses it. */
async function copyBlob(copy: Copy, repository: RepositoryName, digest: Digest): Promise<void> {
  const there = await findBlob(copy.to, repository, digest)
  const onFault = (fault: SourceFault) => tell(copy, repository, fault)
  const blob = await copy.from.findBlob(repository, digest, onFault)
  if (blob === undefined || there?.size === blob.size) return
  if (await linkFromTarget(copy, repository, { digest, size: blob.size })) {
    return copy.onEvent({ kind: 'blob', repository, digest, size: 0 })
  }
  const reason = await whyNotUploaded(copy, repository, { digest, blob })
  if (reason === undefined) {
    return copy.onEvent({ kind: 'blob', repository, digest, size: blob.size })
  }
  tell(copy, repository, { what: `blob ${digest}`, reason, isMended: false })
}

/** Another repository's bytes were verified as they came, whatever those at the source are now. */
async function linkFromTarget(
  { to }: Copy,
  repository: RepositoryName,
  { digest, size }: { readonly digest: Digest; readonly size: number },
): Promise<boolean> {
  for await (const holder of holdersOf(to, digest)) {
    const blob = await findBlob(to, holder, digest)
    if (blob?.size === size && (await linkBlob(to, repository, blob))) return true
  }
  return false
}

/** `undefined` when it was. Throws what is not the source's fault. */
async function whyNotUploaded(
  { to }: Copy,
  repository: RepositoryName,
  { digest, blob }: { readonly digest: Digest; readonly blob: SourceBlob },
): Promise<string | undefined> {
  try {
    const bytes = readableBytes(await blob.open())
    await uploadWhole(to, repository, { digest, bytes, size: blob.size })
    return undefined
  } catch (error) {
    if (error instanceof UnreadableSource) return `it cannot be read: ${error.message}`
    if (hasCode(error, 'not-found')) return 'its bytes are missing'
    if (hasCode(error, 'digest-mismatch')) return 'its bytes are others than its digest says'
    throw error
  }
}

class UnreadableSource extends Error {}

/** A sector that cannot be read is the source's damage; the same error of the target ends the copy. */
async function* readableBytes(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const chunks = bytes[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await chunks.next().catch(cause => {
        throw hasCode(cause, 'EIO') ? new UnreadableSource((cause as Error).message) : cause
      })
      if (next.done === true) return
      yield next.value
    }
  } finally {
    await chunks.return?.()
  }
}

async function copyManifests(copy: Copy, repository: RepositoryName): Promise<void> {
  const waiting = new Set<Digest>()
  for await (const digest of copy.from.manifests(repository)) waiting.add(digest)
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
  const { from, to, onEvent, signal } = copy
  signal.throwIfAborted()
  waiting.delete(digest)
  const damaged = (reason: string) =>
    tell(copy, repository, { what: `manifest ${digest}`, reason, isMended: false })
  const manifest = await from.findManifest(repository, digest)
  if (manifest === undefined) return damaged('its bytes are missing or damaged')
  const { bytes } = manifest
  try {
    const document = parseManifestDocument(bytes, manifest.mediaType)
    for (const { kind, digest: child } of document.references) {
      if (kind === 'manifest' && waiting.has(child)) {
        await copyManifest(copy, repository, { digest: child, waiting })
      }
    }
    await tellMissing(copy, repository, { digest, document })
    if ((await findManifest(to, repository, digest)) !== undefined) return
    const contentType = document.mediaType
    await pushManifest(to, repository, { bytes, contentType, digest, tags: [] })
    onEvent({ kind: 'manifest', repository, digest })
  } catch (error) {
    const isItsOwn = ['digest-mismatch', 'invalid', 'not-found'] as const
    if (!(error instanceof OciError) || !isItsOwn.some(code => hasCode(error, code))) throw error
    damaged(error.message)
  }
}

/** Of what a manifest names, the blobs that the target has not got now: the source has them not. */
async function tellMissing(
  copy: Copy,
  repository: RepositoryName,
  named: { readonly digest: Digest; readonly document: ManifestDocument },
): Promise<void> {
  for (const { kind, digest } of named.document.references) {
    if (kind !== 'blob' || (await findBlob(copy.to, repository, digest)) !== undefined) continue
    const reason = `it names blob ${digest}, which is missing or damaged`
    tell(copy, repository, { what: `manifest ${named.digest}`, reason, isMended: false })
  }
}

/** The object as it is, or made anew, with the time that retention goes by. */
async function copyTag(copy: Copy, repository: RepositoryName, source: SourceTag): Promise<void> {
  const { to, signal, onEvent } = copy
  const { tag, digest } = source
  signal.throwIfAborted()
  if ((await findTag(to, repository, tag)) !== undefined) return
  const manifest = await findManifest(to, repository, digest)
  if (manifest === undefined) {
    const reason = `it points at manifest ${digest}, which is missing or damaged`
    return tell(copy, repository, { what: `tag ${tag}`, reason, isMended: false })
  }
  const pushedAt = source.pushedAt === undefined ? to.now() : new Date(source.pushedAt)
  const object = source.object ?? encodeTag({ manifest, pushedAt, id: to.newId() })
  // Its name says it all; outside of a batch, bytes would be one more file to sync.
  await makeOrRescue(to, tagHintKey(repository, digest, tag), new Uint8Array())
  await makeOrRescue(to, tagKey(repository, tag), object)
  onEvent({ kind: 'tag', repository, tag })
}
