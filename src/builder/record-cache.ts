/**
 * The step cache in the store's records, beside the snapshots that it speaks of.
 *
 *   records/step/<key hex>.json   { layers, created, parts }
 *
 * A record is a hint: it counts only while the filesystem it names is in the store.
 */
import { join } from 'node:path'
import { withLock } from '../layerfs/content/file-lock.ts'
import type { Store } from '../layerfs/store.ts'
import { hexOf, parseDiffId } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { asArray, asString, asStringMap, field, member, optional } from '../oci/json.ts'
import type { Inventories } from './explain/inventory.ts'
import { chainOf } from './solve/graph.ts'
import type { StepCache, StepRecord } from './solve/step-cache.ts'

/** What the steps read is kept with their results. */
export function recordCache(
  store: Pick<Store, 'records' | 'snapshots' | 'locks'>,
  { inventories, signal }: { inventories: Pick<Inventories, 'keep'>; signal: AbortSignal },
): StepCache {
  const { records, snapshots, locks } = store
  return {
    find: async key => {
      const record = decode(await records.get('step', hexOf(key)))
      const chain = record === undefined ? undefined : chainOf(record)
      if (chain === undefined || (await snapshots.find(chain)) === undefined) return undefined
      // What is used stays longest when the cache is made smaller.
      await records.touch('step', hexOf(key))
      return record
    },
    put: async (key, record) => {
      await inventories.keep(Object.values(record.parts))
      await records.put('step', hexOf(key), record)
    },
    exclusively: (key, work) =>
      withLock(join(locks, `step-${hexOf(key)}`), { mode: 'exclusive', signal }, work),
  }
}

/** `undefined` for what another version of the program, or a crash, left. */
function decode(value: unknown): StepRecord | undefined {
  if (value === undefined) return undefined
  const node = { document: 'step record', path: '', value }
  try {
    return {
      layers: asArray(member(node, 'layers')).map(layer => parseDiffId(asString(layer))),
      ...field('created', optional(member(node, 'created'), asString)),
      parts: asStringMap(member(node, 'parts')),
    }
  } catch (error) {
    if (error instanceof OciError) return undefined
    throw error
  }
}
