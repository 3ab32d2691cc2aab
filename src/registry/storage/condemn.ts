/**
 * How an object is removed while others may come to rely on it: without a lock, and without trust
 * in clocks.
 *
 * An object is condemned in its own first line, so condemning, rescuing and removing it are
 * compare-and-swaps on that one object:
 *
 *   live ──condemn──► condemned ──remove──► gone
 *     └◄────rescue──────┘
 *
 * 1. Who removes: saw the object condemned, *then* looked for what needs it and found nothing, and
 *    removes that version only.
 * 2. Who comes to rely on it: first makes visible what needs it, *then* reads it; rescues it when
 *    it is condemned, and fails when it is gone.
 *
 * Of two flags written before the other's is read, one side sees the other's (Dekker): either the
 * collector finds the need, or the one in need finds the sentence and its rescue changes the version
 * that the collector would remove. Any number of collectors may run.
 */
import { hasCode } from '../../oci/errors.ts'
import type { StoredObject } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'

export interface Sentence {
  /** Milliseconds since 1970. */
  readonly at: number
  /** Makes every sentence another version of the object. */
  readonly id: string
}

type Header = Readonly<Record<string, unknown>>

/** `undefined` for a live object, and for bytes that are no record of ours. */
export function sentenceOf(bytes: Uint8Array): Sentence | undefined {
  const { condemned } = headerOf(bytes)
  const { at, id } = (condemned ?? {}) as Partial<Sentence>
  return typeof at === 'number' && typeof id === 'string' ? { at, id } : undefined
}

/** The object, live; `undefined` when it is gone. `seen` is what the caller read just now. */
export async function rescue(
  storage: RegistryStorage,
  key: string,
  seen?: StoredObject,
): Promise<StoredObject | undefined> {
  for (let object = seen; ; object = undefined) {
    object ??= await storage.objects.get(key)
    if (object === undefined || sentenceOf(object.bytes) === undefined) return object
    const bytes = withHeader(object.bytes, ({ condemned: _, ...header }) => header)
    const etag = await replaced(storage, { key, bytes, etag: object.etag })
    if (etag !== undefined) return { bytes, etag }
  }
}

export interface Made {
  /** Of what is there now, live. */
  readonly etag: string
  /** What was there already; `undefined` for one made here. */
  readonly existing?: StoredObject
}

/** Makes the object of `bytes` unless there is one. One request in the usual case, which is that there is none. */
export async function makeOrRescue(
  storage: RegistryStorage,
  key: string,
  bytes: Uint8Array,
): Promise<Made> {
  for (;;) {
    try {
      return { etag: await storage.objects.put(key, bytes, { condition: { kind: 'absent' } }) }
    } catch (error) {
      if (!hasCode(error, 'conflict')) throw error
    }
    const existing = await rescue(storage, key)
    if (existing !== undefined) return { etag: existing.etag, existing }
  }
}

/** The etag of the condemned object; `undefined` when it is no longer what was `seen`. */
export function condemn(
  storage: RegistryStorage,
  key: string,
  seen: StoredObject,
): Promise<string | undefined> {
  const condemned: Sentence = { at: storage.now().getTime(), id: storage.newId() }
  const bytes = withHeader(seen.bytes, header => ({ ...header, condemned }))
  return replaced(storage, { key, bytes, etag: seen.etag })
}

/** Whether the version `etag` is gone now; not when another took its place. */
export async function removeVersion(
  storage: RegistryStorage,
  key: string,
  etag: string,
): Promise<boolean> {
  try {
    await storage.objects.delete(key, { condition: { kind: 'matches', etag } })
    return true
  } catch (error) {
    if (hasCode(error, 'conflict')) return false
    throw error
  }
}

/**
 * Removes the object unless it is needed, all of (1) at once; returns whether it did. For what needs
 * no time of grace, because who relies on it says so within one request and can make it anew.
 */
export async function removeUnlessNeeded(
  storage: RegistryStorage,
  key: string,
  isNeeded: (seen: StoredObject) => Promise<boolean>,
): Promise<boolean> {
  const seen = await storage.objects.get(key)
  // The usual answer, which writes nothing.
  if (seen === undefined || (await isNeeded(seen))) return false
  const etag = await condemn(storage, key, seen)
  if (etag === undefined) return false
  if (!(await isNeeded(seen))) return removeVersion(storage, key, etag)
  await rescue(storage, key)
  return false
}

async function replaced(
  storage: RegistryStorage,
  object: StoredObject & { readonly key: string },
): Promise<string | undefined> {
  const condition = { kind: 'matches', etag: object.etag } as const
  try {
    return await storage.objects.put(object.key, object.bytes, { condition })
  } catch (error) {
    if (hasCode(error, 'conflict')) return undefined
    throw error
  }
}

/** Records are one line of JSON, manifests have one before their bytes, hints may be empty. */
function headerOf(bytes: Uint8Array): Header {
  const line = Buffer.from(bytes.buffer, bytes.byteOffset, endOfHeader(bytes)).toString('utf8')
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Header) : {}
  } catch {
    return {}
  }
}

function withHeader(bytes: Uint8Array, change: (header: Header) => Header): Uint8Array {
  const header = Buffer.from(JSON.stringify(change(headerOf(bytes))))
  return Buffer.concat([header, bytes.subarray(endOfHeader(bytes))])
}

function endOfHeader(bytes: Uint8Array): number {
  const end = bytes.indexOf(0x0a)
  return end === -1 ? bytes.length : end
}
