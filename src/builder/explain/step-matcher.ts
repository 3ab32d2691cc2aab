/**
 * Which step of the last build a step is: the one with the same text in the same stage. One whose
 * text is new stands in the place of the one that stood there and is gone.
 */
import type { Node } from '../solve/graph.ts'
import type { LastStep } from './last-build.ts'

export interface StepMatch {
  readonly step: LastStep | undefined
  /** The step whose text was edited, as far as one can tell. */
  readonly replaced: LastStep | undefined
  /** There was no build before, or none of this stage. */
  readonly isFirst: boolean
}

export class StepMatcher {
  readonly #nodes: readonly Node<unknown>[]
  readonly #last: readonly LastStep[]
  readonly #matches: ReadonlyMap<string, StepMatch>

  constructor(nodes: readonly Node<unknown>[], last: readonly LastStep[]) {
    this.#nodes = nodes
    this.#last = last
    const matches = new Map<string, StepMatch>()
    for (const [place, here] of byPlace(nodes, node => node.identity.place)) {
      const before = last.filter(step => step.place === place)
      matchPlace(here, before, matches)
    }
    this.#matches = matches
  }

  match(node: Node<unknown>): StepMatch {
    return this.#matches.get(node.id) ?? { step: undefined, replaced: undefined, isFirst: true }
  }

  /**
   * This build's steps, those it did not come to as they were, and then those of stages that it was
   * not asked for.
   */
  merged(
    factOf: (node: Node<unknown>) => Pick<LastStep, 'parts' | 'ended'> | undefined,
  ): LastStep[] {
    const here = this.#nodes.flatMap(node => {
      const fact = factOf(node)
      if (fact !== undefined) return [{ ...node.identity, ...fact }]
      const earlier = this.match(node).step
      return earlier === undefined ? [] : [earlier]
    })
    const places = new Set(this.#nodes.map(({ identity }) => identity.place))
    return [...here, ...this.#last.filter(({ place }) => !places.has(place))]
  }
}

function byPlace<T>(all: readonly T[], placeOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const one of all) {
    const place = placeOf(one)
    const group = groups.get(place)
    if (group === undefined) groups.set(place, [one])
    else group.push(one)
  }
  return groups
}

/** Equal texts match in their order; of the others, those between the same neighbours. */
function matchPlace(
  here: readonly Node<unknown>[],
  before: readonly LastStep[],
  matches: Map<string, StepMatch>,
): void {
  const isFirst = before.length === 0
  const unused = byPlace(
    before.map((step, index) => ({ step, index })),
    ({ step }) => step.text,
  )
  const found = here.map(node => unused.get(node.identity.text)?.shift())
  const gone = new Set([...unused.values()].flat().map(({ index }) => index))
  let next = 0
  for (const [position, node] of here.entries()) {
    const same = found[position]
    const replaced = same === undefined && gone.has(next) ? before[next] : undefined
    matches.set(node.id, { step: same?.step, replaced, isFirst })
    if (same !== undefined) next = same.index + 1
    else if (replaced !== undefined) next++
  }
}
