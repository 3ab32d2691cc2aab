/** The build cache as a whole: which filesystems it keeps, and how it is made smaller. */
import type { Records } from '../layerfs/content/records.ts'
import { type ChainId, chainIds, parseDiffId } from '../oci/digest.ts'
import { hasCode } from '../oci/errors.ts'
import { asArray, asString, member } from '../oci/json.ts'

/** Of record-cache.ts, twin-results.ts, memo.ts, sources/url-fetcher.ts and explain/. */
const kinds = ['step', 'made', 'memo', 'url', 'inventory', 'last'] as const

export interface RemainingCache {
  readonly removedSteps: number
  /** Filesystems that the remaining steps name. */
  readonly chains: readonly ChainId[]
}

/** Forgets every step and every remembered digest that was last of use before `before`. */
export async function forgetSteps(records: Records, before: Date): Promise<RemainingCache> {
  const chains = new Set<ChainId>()
  const removed = { step: 0, made: 0, memo: 0, url: 0, inventory: 0, last: 0 }
  for (const kind of kinds) {
    for await (const { hex, value, usedAt } of records.list(kind)) {
      const chain = kind === 'step' ? chainIn(value) : undefined
      if (usedAt.getTime() < before.getTime()) {
        await records.remove(kind, hex)
        removed[kind]++
      } else if (chain !== undefined) chains.add(chain)
    }
  }
  return { removedSteps: removed.step, chains: [...chains] }
}

export interface RememberedStep {
  /** The filesystem that the step made. */
  readonly chain: ChainId
  readonly usedAt: Date
}

/** Those that made a filesystem; whether it is still there is for the caller to see. */
export async function* rememberedSteps(records: Records): AsyncGenerator<RememberedStep> {
  for await (const { value, usedAt } of records.list('step')) {
    const chain = chainIn(value)
    if (chain !== undefined) yield { chain, usedAt }
  }
}

/** `undefined` for a step with an empty filesystem, and for what is no record of a step. */
function chainIn(value: unknown): ChainId | undefined {
  try {
    const node = { document: 'step record', path: '', value }
    const layers = asArray(member(node, 'layers')).map(layer => parseDiffId(asString(layer)))
    return chainIds(layers).at(-1)
  } catch (error) {
    if (!hasCode(error, 'invalid')) throw error
    return undefined
  }
}
