/**
 * The stat cache of a build context, kept in the store's records between builds:
 * `records/context/<hash of the directory>.json`.
 */
import { realpath } from 'node:fs/promises'
import type { Records } from '../../layerfs/content/records.ts'
import { digestOf, hexOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { asStringMap } from '../../oci/json.ts'
import { type StatCache, statCache } from './stat-cache.ts'

export interface KeptStatCache extends AsyncDisposable {
  readonly cache: StatCache
}

/** Disposing it keeps what was learned, if it can: a full disk costs the next build time, no more. */
export async function openStatCache(
  records: Records,
  directory: string,
  now: () => Date,
): Promise<KeptStatCache> {
  const hex = hexOf(digestOf(await realpath(directory)))
  const cache = statCache(decode(await records.get('context', hex)), now)
  return {
    cache,
    [Symbol.asyncDispose]: async () => {
      if (cache.isChanged()) await records.put('context', hex, cache.entries()).catch(() => {})
    },
  }
}

function decode(value: unknown): Record<string, string> {
  if (value === undefined) return {}
  try {
    return asStringMap({ document: 'context record', path: '', value })
  } catch (error) {
    if (error instanceof OciError) return {}
    throw error
  }
}
