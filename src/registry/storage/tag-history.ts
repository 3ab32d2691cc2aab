/**
 * What a tag pointed at, and since when: one small object per change, oldest first. A hint for
 * people and for `undo`: written after the change, so a crash in between loses the entry and nothing
 * else. That it was made the tag itself says, until it changes: most never do.
 */
import type { Digest } from '../../oci/digest.ts'
import { field } from '../../oci/json.ts'
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

/** When a tag was made, and who did it. */
export type TagCreation = Pick<TagChange, 'at' | 'by'>

export interface NewTagChange extends Omit<TagChange, 'at'> {
  readonly tag: Tag
  /** That it was made as `from`, when nothing says so but the tag that was there. */
  readonly created?: TagCreation
}

export async function recordTagChange(
  storage: RegistryStorage,
  repository: RepositoryName,
  { tag, created, ...change }: NewTagChange,
): Promise<void> {
  const put = async (id: string, { at, ...entry }: TagChange) => {
    const key = `${tagHistoryPrefix(repository, tag)}${sortable(at)}-${id}`
    await storage.objects.put(key, encodeRecord({ at, ...entry }), { durability: 'cached' })
  }
  // Before what followed it in the same millisecond.
  if (created !== undefined) await put('0', { ...created, ...field('to', change.from) })
  await put(storage.newId(), { at: storage.now().getTime(), ...change })
}

/** The newest changes that were recorded, newest first. */
export async function listRecordedChanges(
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
