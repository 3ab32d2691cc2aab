/**
 * Twins: what steps on the same filesystem gave before, for a step that ran again (K01).
 *
 *   records/made/<hash of the parent>.json   [{ "diffId": …, "created": …, "look": … }, …], the latest first
 *
 * A step that runs again and changes the same files in the same way differs from before in times
 * alone. Then the earlier result is taken in its place, and all that was built on it is found again.
 */
import { hasSameChanges } from '../layerfs/layer/same-changes.ts'
import { comparedWith } from '../layerfs/snapshot/snapshotter.ts'
import type { Store } from '../layerfs/store.ts'
import { type ChainId, chainId, type DiffId, digestOf, hexOf, parseDiffId } from '../oci/digest.ts'
import { hasCode } from '../oci/errors.ts'
import { asArray, asString, member } from '../oci/json.ts'

export interface MadeLayer {
  readonly diffId: DiffId
  /** When its step ran (RFC 3339). */
  readonly created: string
  /** Where that of another layer differs, it is no twin: `HashedDiff` of layerfs. */
  readonly look: string
}

export interface TwinQuestion {
  readonly parent: ChainId | undefined
  /** The new layer, not committed yet. */
  readonly upper: string
  /** Directories below it, **top first**. */
  readonly lower: readonly string[]
  readonly diffId: DiffId
  readonly look: string
  readonly signal: AbortSignal
}

export interface TwinResults {
  /** An earlier layer on the same parent that is the same but for times. */
  find(question: TwinQuestion): Promise<MadeLayer | undefined>
  /** Whether there may be one. */
  mayHave(parent: ChainId | undefined, look: string): Promise<boolean>
  remember(parent: ChainId | undefined, layer: MadeLayer): Promise<void>
}

/** A parent that many different steps were run on is no parent of a step that repeats itself. */
const remembered = 4

/** `takes`: whether an earlier result may be taken; if not, results are remembered all the same. */
export function twinResults(
  { records, snapshots }: Pick<Store, 'records' | 'snapshots'>,
  { takes }: { readonly takes: boolean },
): TwinResults {
  const hexFor = (parent: ChainId | undefined) => hexOf(digestOf(`made on ${parent ?? 'scratch'}`))
  const madeOn = async (parent: ChainId | undefined) =>
    decode(await records.get('made', hexFor(parent)))
  const isTwin = async (
    layer: MadeLayer,
    { parent, diffId, look, upper, lower, signal }: TwinQuestion,
  ) => {
    if (layer.look !== look) return false
    const name = chainId(parent, layer.diffId)
    const found = await snapshots.find(name)
    if (found === undefined) return false
    if (layer.diffId === diffId) return true
    if (comparedWith(found, lower).length !== lower.length) return false
    const [earlier = ''] = await snapshots.layers(name)
    return hasSameChanges({ uppers: [earlier, upper], lower }, signal)
  }
  return {
    find: async question => {
      if (!takes) return undefined
      for (const layer of await madeOn(question.parent)) {
        if (await isTwin(layer, question)) return layer
      }
      return undefined
    },
    mayHave: async (parent, look) =>
      takes && (await madeOn(parent)).some(layer => layer.look === look),
    remember: async (parent, layer) => {
      const others = (await madeOn(parent)).filter(({ diffId }) => diffId !== layer.diffId)
      await records.put('made', hexFor(parent), [layer, ...others].slice(0, remembered))
    },
  }
}

/** None of what another version of the program, or a crash, left. */
function decode(value: unknown): MadeLayer[] {
  if (value === undefined) return []
  try {
    return asArray({ document: 'record of layers', path: '', value }).map(node => ({
      diffId: parseDiffId(asString(member(node, 'diffId'))),
      created: asString(member(node, 'created')),
      look: asString(member(node, 'look')),
    }))
  } catch (error) {
    if (!hasCode(error, 'invalid')) throw error
    return []
  }
}
