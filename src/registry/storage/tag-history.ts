/**
 * What a tag pointed at, and since when: one small object per change, oldest first. A hint for
 * people and for `undo`: written after the change, so a crash in between loses the entry and nothing
 * else.
 */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { tagHistoryPrefix } from './keys.ts'
import { listAll } from './object-store.ts'
import { encodeRecord, readRecord } from './records.ts'
import type { RegistryStorage } from './registry-storage.ts'

export interface TagChange {
  /** Milliseconds since 1970. */
  readonly at: number
  /** Who did it, when that is known. */
  readonly by?: string
  /** What the tag pointed at before; absent when it was created. */
  readonly from?: Digest
  /** What it points at since; absent when it was deleted. */
  readonly to?: Digest
}

/** What is kept of one tag; older changes are collected. */
export const maxTagChanges = 100

export type NewTagChange = Omit<TagChange, 'at'> & { readonly tag: Tag }

export async function recordTagChange(
  storage: RegistryStorage,
  repository: RepositoryName,
  { tag, ...change }: NewTagChange,
): Promise<void> {
  if (change.from === change.to) return
  const at = storage.now().getTime()
  const key = `${tagHistoryPrefix(repository, tag)}${sortable(at)}-${storage.newId()}`
  await storage.objects.put(key, encodeRecord({ at, ...change }), { durability: 'cached' })
}

/** The newest changes, newest first. */
export async function listTagChanges(
  storage: RegistryStorage,
  repository: RepositoryName,
  tag: Tag,
): Promise<TagChange[]> {
  const keys: string[] = []
  for await (const key of listAll(storage.objects, tagHistoryPrefix(repository, tag))) {
    keys.push(key)
    if (keys.length > 2 * maxTagChanges) keys.splice(0, maxTagChanges)
  }
  const newest = keys.slice(-maxTagChanges).reverse()
  const changes = await Promise.all(newest.map(key => readRecord(storage.objects, key)))
  return changes.flatMap(record => (record === undefined ? [] : [changeFrom(record.value)]))
}

export function changeFrom(value: Readonly<Record<string, unknown>>): TagChange {
  const { at, by, from, to } = value
  return {
    at: typeof at === 'number' ? at : 0,
    ...(typeof by === 'string' ? { by } : {}),
    ...(typeof from === 'string' ? { from: from as Digest } : {}),
    ...(typeof to === 'string' ? { to: to as Digest } : {}),
  }
}

/** When the change of this key was made; see {@link sortable}. */
export function timeOfChange(key: string): number {
  return Number(key.slice(key.lastIndexOf('/') + 1).split('-', 1)[0])
}

/** Keys sort by time until the year 5138. */
function sortable(at: number): string {
  return String(at).padStart(14, '0')
}
