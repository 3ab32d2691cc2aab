/** The {@link Memo} of the steps, in the store's records: `records/memo/<key hex>.json`. */
import type { Records } from '../layerfs/content/records.ts'
import { digestOf, hexOf } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { asStringMap } from '../oci/json.ts'
import type { Memo } from './steps/step-world.ts'

export function memo(records: Records): Memo {
  return {
    find: async key => {
      const value = await records.get('memo', hexOf(digestOf(key)))
      return value === undefined ? undefined : decode(value)
    },
    put: (key, value) => records.put('memo', hexOf(digestOf(key)), value),
  }
}

function decode(value: unknown): Readonly<Record<string, string>> | undefined {
  try {
    return asStringMap({ document: 'memo record', path: '', value })
  } catch (error) {
    if (error instanceof OciError) return undefined
    throw error
  }
}
