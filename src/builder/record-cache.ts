/**
 * The step cache in the store's records, beside the snapshots that it speaks of.
 *
 *   records/step/<key hex>.json            { layers, created, parts }
 *   records/latest/<hash of identity>.json the same: a step's most recent result
 *
 * A record is a hint: it counts only while the filesystem it names is in the store.
 */
import { join } from 'node:path'
import { withLock } from '../layerfs/content/file-lock.ts'
import type { Store } from '../layerfs/store.ts'
import { digestOf, hexOf, parseDiffId } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { asArray, asString, asStringMap, field, member, optional } from '../oci/json.ts'
import { chainOf } from './solve/graph.ts'
import type { StepCache, StepRecord } from './solve/step-cache.ts'

/** `scope` sets apart builds whose steps have the same identity: the Dockerfile's place. */
export function recordCache(
  store: Pick<Store, 'records' | 'snapshots' | 'locks'>,
  { scope, signal }: { scope: string; signal: AbortSignal },
): StepCache {
  const { records, snapshots, locks } = store
  const latestKey = (identity: string) => hexOf(digestOf(`${scope}\0${identity}`))
  const read = async (kind: string, hex: string) => decode(await records.get(kind, hex))
  return {
    find: async key => {
      const record = await read('step', hexOf(key))
      const chain = record === undefined ? undefined : chainOf(record)
      if (chain === undefined || (await snapshots.find(chain)) === undefined) return undefined
      return record
    },
    put: async (key, identity, record) => {
      await records.put('step', hexOf(key), record)
      await records.put('latest', latestKey(identity), record)
    },
    latest: identity => read('latest', latestKey(identity)),
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
