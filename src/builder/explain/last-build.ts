/**
 * The steps of the last build of a Dockerfile, which the next one is compared with:
 * `records/last/<hash of the scope>.json`.
 */
import type { Records } from '../../layerfs/content/records.ts'
import { digestOf, hexOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { asArray, asBoolean, asString, asStringMap, type JsonNode, member } from '../../oci/json.ts'
import type { KeyParts, StepIdentity } from '../solve/graph.ts'

export interface LastStep extends StepIdentity {
  readonly parts: KeyParts
  /** Whether it ended well. */
  readonly ended: boolean
}

/** Stages that no build asks for any more are forgotten some time. */
const mostSteps = 2000

/** In the order of the build; empty for the first one. */
export async function readLastBuild(records: Records, scope: string): Promise<LastStep[]> {
  const value = await records.get('last', keyOf(scope))
  if (value === undefined) return []
  try {
    return asArray(member({ document: 'last build', path: '', value }, 'steps')).map(stepOf)
  } catch (error) {
    if (error instanceof OciError) return []
    throw error
  }
}

/** The latest first where there are too many. */
export async function writeLastBuild(
  records: Records,
  scope: string,
  steps: readonly LastStep[],
): Promise<void> {
  await records.put('last', keyOf(scope), { steps: steps.slice(0, mostSteps) })
}

function keyOf(scope: string): string {
  return hexOf(digestOf(scope))
}

function stepOf(node: JsonNode): LastStep {
  return {
    place: asString(member(node, 'place')),
    text: asString(member(node, 'text')),
    parts: asStringMap(member(node, 'parts')),
    ended: asBoolean(member(node, 'ended')),
  }
}
