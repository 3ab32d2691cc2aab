/** The history of tags: what is too old or too much goes, what is left keeps manifests. */
import type { Digest } from '../../../oci/digest.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import { repositoryPrefix } from '../keys.ts'
import { listAll } from '../object-store.ts'
import { readRecord } from '../records.ts'
import { changeFrom, maxTagChanges, timeOfChange } from '../tag-history.ts'
import type { Collection } from './collection.ts'

const defaultHistoryMs = 30 * 24 * 3600_000

/** Removes old changes, and returns what the others lead to: `undo` finds it there. */
export async function collectHistory(
  run: Collection,
  repository: RepositoryName,
): Promise<Set<Digest>> {
  const oldest = run.startedAt - (run.historyMs ?? defaultHistoryMs)
  const pointedAt = new Set<Digest>()
  for (const keys of (await changesByTag(run, repository)).values()) {
    const kept = keys.slice(-maxTagChanges).filter(key => timeOfChange(key) > oldest)
    for (const key of keys.slice(0, keys.length - kept.length)) await forget(run, repository, key)
    for (const key of kept) {
      const { from, to } = changeFrom((await readRecord(run.storage.objects, key))?.value ?? {})
      if (from !== undefined) pointedAt.add(from)
      if (to !== undefined) pointedAt.add(to)
    }
  }
  return pointedAt
}

async function forget(run: Collection, repository: RepositoryName, key: string): Promise<void> {
  run.signal?.throwIfAborted()
  if (run.dryRun !== true) await run.storage.objects.delete(key)
  run.onEvent?.({ kind: 'history', action: 'remove', repository })
}

/** Keys of changes, oldest first. */
async function changesByTag(
  run: Collection,
  repository: RepositoryName,
): Promise<Map<string, string[]>> {
  const prefix = repositoryPrefix(repository, '_th')
  const byTag = new Map<string, string[]>()
  for await (const key of listAll(run.storage.objects, prefix)) {
    const [tag = ''] = key.slice(prefix.length).split('/')
    const keys = byTag.get(tag)
    if (keys === undefined) byTag.set(tag, [key])
    else keys.push(key)
  }
  return byTag
}
