/** A tag as an object: what it points at, since when, and how it came to be. */
import { type Digest, parseDigest } from '../../oci/digest.ts'
import { field } from '../../oci/json.ts'
import type { StoredObject } from './object-store.ts'
import { decodeRecord, encodeRecord } from './records.ts'
import type { RegistryStorage } from './registry-storage.ts'
import type { TagCreation } from './tag-history.ts'

export interface StoredTag {
  readonly digest: Digest
  /** Milliseconds since 1970; 0 when it is not known. */
  readonly pushedAt: number
  readonly etag: string
  /** The registry that it was pulled from: then `pushedAt` is when it was last used, roughly. */
  readonly upstream?: string
  /** While it points at what it was made with. */
  readonly created?: TagCreation
}

export interface TaggedManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Uint8Array
  readonly upstream?: string | undefined
}

interface TagToSet {
  readonly manifest: TaggedManifest
  readonly by?: string | undefined
  /** The tag as it is. */
  readonly found: StoredTag | undefined
}

/** What the tag would be, were it set now. */
export function newTag(storage: RegistryStorage, { manifest, by, found }: TagToSet): Uint8Array {
  const pushedAt = storage.now()
  const made = { at: pushedAt.getTime(), ...field('by', by) }
  const kept = found?.digest === manifest.digest ? found.created : undefined
  // Of an upstream's nothing is recorded.
  const created = found === undefined && manifest.upstream === undefined ? made : kept
  return encodeTag({ manifest, pushedAt, id: storage.newId(), ...field('created', created) })
}

/** The id makes every push another version, also of the same in the same millisecond. */
export function encodeTag({
  manifest: { digest, mediaType, bytes, upstream },
  pushedAt,
  created,
  id,
}: {
  readonly manifest: TaggedManifest
  readonly pushedAt: Date
  readonly created?: TagCreation
  readonly id: string
}): Uint8Array {
  const size = bytes.length
  const time = pushedAt.toISOString()
  return encodeRecord({ digest, mediaType, size, pushedAt: time, upstream, created, id })
}

/** A store that remembers an object hands out the same one: it need not be read again. */
const decoded = new WeakMap<StoredObject, StoredTag>()

/** What the object of a tag says; `undefined` when there is none, or it is damaged. */
export function tagFrom(object: StoredObject | undefined): StoredTag | undefined {
  if (object === undefined) return undefined
  const known = decoded.get(object)
  if (known !== undefined) return known
  const tag = decodeTag(object)
  if (tag !== undefined) decoded.set(object, tag)
  return tag
}

function decodeTag(object: StoredObject): StoredTag | undefined {
  const { digest, pushedAt, upstream, created } = decodeRecord(object.bytes) ?? {}
  if (typeof digest !== 'string') return undefined
  const time = Date.parse(String(pushedAt))
  try {
    return {
      digest: parseDigest(digest),
      pushedAt: Number.isNaN(time) ? 0 : time,
      etag: object.etag,
      ...(typeof upstream === 'string' ? { upstream } : {}),
      ...field('created', creationFrom(created)),
    }
  } catch {
    return undefined
  }
}

function creationFrom(value: unknown): TagCreation | undefined {
  const { at, by } = (value ?? {}) as Partial<TagCreation>
  if (typeof at !== 'number') return undefined
  return { at, ...(typeof by === 'string' ? { by } : {}) }
}
