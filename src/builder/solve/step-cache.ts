/**
 * StepCache: results of earlier steps by key. An interface here, so that the solver knows no disk;
 * `builder/record-cache.ts` keeps them in the store.
 */
import type { CacheKey, KeyParts, StepResult } from './graph.ts'

export interface StepRecord extends StepResult {
  readonly parts: KeyParts
  /** What told of it, for people, if not the store. */
  readonly from?: string
}

export interface StepCache {
  /** An earlier result whose filesystem is still there. */
  find(key: CacheKey): Promise<StepRecord | undefined>
  put(key: CacheKey, record: StepRecord): Promise<void>
  /** Runs `work` while no other process runs the step with this key. */
  exclusively<T>(key: CacheKey, work: () => Promise<T>): Promise<T>
}
