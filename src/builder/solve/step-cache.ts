/**
 * StepCache: results of earlier steps by key. An interface here, so that the solver knows no disk;
 * `builder/record-cache.ts` keeps them in the store.
 */
import type { CacheKey, KeyParts, StepResult } from './graph.ts'

export interface StepRecord extends StepResult {
  readonly parts: KeyParts
}

export interface StepCache {
  /** An earlier result whose filesystem is still there. */
  find(key: CacheKey): Promise<StepRecord | undefined>
  /** Remembers a result as `name`'s latest, under `key`. */
  put(key: CacheKey, name: string, record: StepRecord): Promise<void>
  /** The latest result of a step of that name: what a miss is explained against. */
  latest(name: string): Promise<StepRecord | undefined>
  /** Runs `work` while no other process runs the step with this key. */
  exclusively<T>(key: CacheKey, work: () => Promise<T>): Promise<T>
}
