/** A manifest as an object: a line of JSON with what is known of it, then the exact bytes. */
import { algorithmOf, type Digest, digestOf } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import { sentenceOf } from './condemn.ts'
import { manifestKey } from './keys.ts'
import type { Condition, StoredObject } from './object-store.ts'
import { decodeRecord, encodeRecord } from './records.ts'
import type { RegistryStorage } from './registry-storage.ts'

export interface StoredManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Uint8Array
  readonly subject?: Digest
  /** The registry that it was pulled from, of a copy; absent of what was pushed here. */
  readonly upstream?: string | undefined
}

/** One version of the object: every push, also of the same bytes, makes another. */
export interface ManifestVersion extends StoredManifest {
  readonly etag: string
  /** Milliseconds since 1970; 0 when it is not known. */
  readonly pushedAt: number
  /** Since when it is to be removed. */
  readonly condemnedAt: number | undefined
}

/** `undefined` when there is none, and when what is there is not it any more: a push repairs it. */
export async function findManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  digest: Digest,
): Promise<ManifestVersion | undefined> {
  const object = await storage.objects.get(manifestKey(repository, digest))
  if (object === undefined) return undefined
  const known = decoded.get(object)
  if (known?.digest === digest) return known
  const manifest = decodeManifest(digest, object)
  if (manifest !== undefined) decoded.set(object, manifest)
  return manifest
}

/** A store that remembers an object hands out the same one: its digest need not be taken again. */
const decoded = new WeakMap<StoredObject, ManifestVersion>()

interface ManifestWrite {
  readonly digest: Digest
  /** Of {@link newManifest}. */
  readonly object: Uint8Array
  /** Whether there is one most likely; then it counts as one that was there. */
  readonly isThere: boolean
}

/** Puts a new, live version and returns its etag, and whether there was none before. */
export async function putManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  { digest, object, isThere }: ManifestWrite,
): Promise<{ readonly etag: string; readonly isNew: boolean }> {
  const key = manifestKey(repository, digest)
  const put = (condition?: Condition) =>
    storage.objects.put(key, object, condition === undefined ? {} : { condition })
  if (isThere) return { etag: await put(), isNew: false }
  try {
    return { etag: await put({ kind: 'absent' }), isNew: true }
  } catch (error) {
    if (!hasCode(error, 'conflict')) throw error
    return { etag: await put(), isNew: false }
  }
}

/** Makes it as if it were pushed now, unless it is another version by now. */
export async function renewManifest(
  storage: RegistryStorage,
  repository: RepositoryName,
  version: ManifestVersion,
): Promise<void> {
  const { digest, etag } = version
  await replaceManifest(storage, repository, {
    digest,
    etag,
    object: newManifest(storage, version),
  })
}

/** Puts another version in the place of the version `etag`; `undefined` when that is no longer there. */
export async function replaceManifest(
  { objects }: RegistryStorage,
  repository: RepositoryName,
  { digest, object, etag }: Pick<ManifestWrite, 'digest' | 'object'> & { readonly etag: string },
): Promise<string | undefined> {
  const condition: Condition = { kind: 'matches', etag }
  try {
    return await objects.put(manifestKey(repository, digest), object, { condition })
  } catch (error) {
    if (hasCode(error, 'conflict')) return undefined
    throw error
  }
}

/** What the object is when the manifest is pushed now: another each time. */
export function newManifest(storage: RegistryStorage, manifest: StoredManifest): Uint8Array {
  const { mediaType, subject, upstream, bytes } = manifest
  const header = encodeRecord({
    mediaType,
    subject,
    upstream,
    pushedAt: storage.now().getTime(),
    id: storage.newId(),
  })
  return Buffer.concat([header, Buffer.from('\n'), bytes])
}

function decodeManifest(digest: Digest, object: StoredObject): ManifestVersion | undefined {
  const end = object.bytes.indexOf(0x0a)
  const header = end === -1 ? undefined : decodeRecord(object.bytes.subarray(0, end))
  const { mediaType, subject, pushedAt, upstream } = header ?? {}
  const bytes = object.bytes.subarray(end + 1)
  if (typeof mediaType !== 'string') return undefined
  if (digestOf(bytes, algorithmOf(digest)) !== digest) return undefined
  return {
    digest,
    mediaType,
    bytes,
    etag: object.etag,
    pushedAt: typeof pushedAt === 'number' ? pushedAt : 0,
    condemnedAt: sentenceOf(object.bytes)?.at,
    ...(typeof subject === 'string' ? { subject: subject as Digest } : {}),
    ...(typeof upstream === 'string' ? { upstream } : {}),
  }
}
