/** The build cache as a whole: which filesystems it keeps, and how it is made smaller. */
import type { Records } from '../layerfs/content/records.ts'
import { type ChainId, chainIds, parseDiffId } from '../oci/digest.ts'
import { hasCode } from '../oci/errors.ts'
import { asArray, asString, member } from '../oci/json.ts'
import { inventoryKey } from './explain/inventory.ts'

/** Of record-cache.ts, twin-results.ts, memo.ts, sources/url-fetcher.ts and explain/. */
/** Those that may refer to inventories stand before these. */
const kinds = ['step', 'made', 'memo', 'url', 'last', 'inventory'] as const

export interface RemainingCache {
  readonly removedSteps: number
  /** Filesystems that the remaining steps name. */
  readonly chains: readonly ChainId[]
}

export interface Forgetting {
  readonly before: Date
  /** Filesystems that running builds use: their steps stay. */
  readonly held: ReadonlySet<ChainId>
}

/**
 * Forgets every step and every remembered digest that was last put or used before `before`. What
 * the steps that remain have read stays with them.
 */
export async function forgetSteps(
  records: Records,
  { before, held }: Forgetting,
): Promise<RemainingCache> {
  const chains = new Set<ChainId>()
  const needed = new Set<string>()
  let removedSteps = 0
  for (const kind of kinds) {
    for await (const { hex, value, usedAt } of records.list(kind)) {
      const isOld = usedAt.getTime() < before.getTime()
      if (isOld && !needed.has(hex) && !isStepOf(held, kind, value)) {
        await records.remove(kind, hex)
        if (kind === 'step') removedSteps++
      } else noteNeeds(kind, value, { chains, needed })
    }
  }
  return { removedSteps, chains: [...chains] }
}

function isStepOf(held: ReadonlySet<ChainId>, kind: string, value: unknown): boolean {
  const chain = kind === 'step' ? chainIn(value) : undefined
  return chain !== undefined && held.has(chain)
}

interface Needs {
  readonly chains: Set<ChainId>
  /** Of inventories. */
  readonly needed: Set<string>
}

function noteNeeds(kind: (typeof kinds)[number], value: unknown, { chains, needed }: Needs): void {
  if (kind === 'inventory') return
  for (const text of textsIn(value)) needed.add(inventoryKey(text))
  const chain = kind === 'step' ? chainIn(value) : undefined
  if (chain !== undefined) chains.add(chain)
}

/** The values of a key's parts, wherever a record has them. */
function* textsIn(value: unknown): Generator<string> {
  if (typeof value === 'string') {
    if (value.startsWith('sha256:')) yield value
  } else if (typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) yield* textsIn(part)
  }
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
