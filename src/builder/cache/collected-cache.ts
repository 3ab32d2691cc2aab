/** What a build learned that another could use: collected while it runs, for `--cache-to`. */
import type { CacheKey, KeyParts, StepResult } from '../solve/graph.ts'
import type { StepCache } from '../solve/step-cache.ts'
import type { Memo } from '../steps/step-world.ts'
import { memoHex } from './cache-config.ts'
import type { ImportedCaches } from './imported-cache.ts'

export interface CollectedCache {
  /** Of every step that was run or found. */
  readonly results: ReadonlyMap<CacheKey, StepResult>
  /** By {@link memoHex}. */
  readonly memo: ReadonlyMap<string, KeyParts>
  /** Ids of the steps' cache mounts; not those that begin with files of a stage or image. */
  readonly mounts: readonly string[]
  /** What earlier builds knew, which may be handed on. */
  readonly imports: ImportedCaches
}

/** The same cache and memo; what goes through them is noted. */
export function collecting({ cache, memo }: { readonly cache: StepCache; readonly memo: Memo }): {
  readonly cache: StepCache
  readonly memo: Memo
  readonly collected: Pick<CollectedCache, 'results' | 'memo'>
} {
  const results = new Map<CacheKey, StepResult>()
  const answers = new Map<string, KeyParts>()
  const noting: StepCache = {
    ...cache,
    find: async key => {
      const found = await cache.find(key)
      if (found !== undefined) results.set(key, found)
      return found
    },
    put: async (key, record) => {
      results.set(key, record)
      await cache.put(key, record)
    },
  }
  const notingMemo: Memo = {
    find: async key => {
      const found = await memo.find(key)
      if (found !== undefined) answers.set(memoHex(key), found)
      return found
    },
    put: async (key, value) => {
      answers.set(memoHex(key), value)
      await memo.put(key, value)
    },
  }
  return { cache: noting, memo: notingMemo, collected: { results, memo: answers } }
}
