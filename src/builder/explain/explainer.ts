/**
 * Explains why steps run: each is compared with the same step of the last build, and where it only
 * builds on something that changed, the change is followed to the step where it began.
 *
 *   COPY . .  ──►  RUN npm ci  ──►  RUN npm test
 *   a.ts: content   parent: COPY     parent: RUN npm ci, because of COPY: a.ts: content
 */
import type { KeyParts, Node } from '../solve/graph.ts'
import type { Explainer, Ground } from '../solve/solver.ts'
import { compareParts } from './compare-parts.ts'
import type { Inventories } from './inventory.ts'
import type { LastStep } from './last-build.ts'
import { type Cause, type Miss, missOf, type RootCause } from './miss.ts'
import { type StepMatch, StepMatcher } from './step-matcher.ts'

export interface KeepingExplainer extends Explainer {
  /** What the next build is to be compared with. */
  steps(): LastStep[]
}

interface Fact {
  readonly parts: KeyParts
  ended: boolean
  miss?: Miss
}

interface Inputs {
  readonly nodes: readonly Node<unknown>[]
  readonly last: readonly LastStep[]
  readonly inventories: Pick<Inventories, 'find'>
}

export function explainer({ nodes, last, inventories }: Inputs): KeepingExplainer {
  const facts = new Map<string, Fact>()
  const byId = new Map(nodes.map(node => [node.id, node]))
  const matcher = new StepMatcher(nodes, last)

  /** What is different from the last build, whether or not the step ran. */
  const ownCauses = async (node: Node<unknown>, parts: KeyParts): Promise<Cause[]> => {
    const match = matcher.match(node)
    if (match.step === undefined) return [unmatched(node, match)]
    return compareParts(match.step.parts, parts, inventories)
  }

  const miss = async (node: Node<unknown>, parts: KeyParts, ground: Ground): Promise<Miss> => {
    const found =
      ground === 'not-wanted' ? missOf([{ kind: 'no-cache' }]) : await search(node, parts)
    facts.set(node.id, { parts, ended: false, miss: found })
    return found
  }

  const search = async (node: Node<unknown>, parts: KeyParts): Promise<Miss> => {
    const causes = await ownCauses(node, parts)
    if (causes.length === 0) {
      return missOf([{ kind: matcher.match(node).step?.ended === true ? 'pruned' : 'unfinished' }])
    }
    const inherited = causes.filter(isInherited(node))
    if (inherited.length === 0) return missOf(causes)
    const root = await rootOf(node)
    const named = causes.map(cause => (cause.kind === 'parent' ? parentCause(node, byId) : cause))
    return missOf(named, root)
  }

  /** The input in which the change began, with its causes. */
  const rootOf = async (node: Node<unknown>): Promise<RootCause | undefined> => {
    for (const id of node.inputs) {
      const input = byId.get(id)
      const found = input === undefined ? undefined : await rootIn(input)
      if (found !== undefined) return found
    }
    return undefined
  }

  const rootIn = async (node: Node<unknown>): Promise<RootCause | undefined> => {
    const fact = facts.get(node.id)
    if (fact?.miss?.root !== undefined) return fact.miss.root
    if (fact?.miss !== undefined) {
      const { causes, more } = fact.miss
      return { step: node.name, causes, more }
    }
    const parts = fact?.parts ?? node.facts
    if (parts === undefined) return rootOf(node)
    // An older result may have been used: its files are not those of the last build either.
    const { causes, more } = missOf(await ownCauses(node, parts))
    if (causes.length === 0) return undefined
    if (causes.every(isInherited(node))) return rootOf(node)
    return { step: node.name, causes, more }
  }

  return {
    miss,
    hit: (node, parts) => facts.set(node.id, { parts, ended: true }),
    ended: ({ id }) => {
      const fact = facts.get(id)
      if (fact !== undefined) fact.ended = true
    },
    steps: () => matcher.merged(node => factOf(node, facts)),
  }
}

function factOf(
  node: Node<unknown>,
  facts: ReadonlyMap<string, Fact>,
): Pick<LastStep, 'parts' | 'ended'> | undefined {
  const fact = facts.get(node.id)
  if (fact !== undefined) return { parts: fact.parts, ended: fact.ended }
  return node.facts === undefined ? undefined : { parts: node.facts, ended: true }
}

function unmatched({ identity }: Node<unknown>, { isFirst, replaced }: StepMatch): Cause {
  if (isFirst) return { kind: 'first' }
  const { text: to } = identity
  const change =
    replaced === undefined ? { what: 'added', to } : { what: 'text', from: replaced.text, to }
  return { kind: 'instruction', changes: [change] }
}

/** Of what a step reads from others: files of a stage as much as what it builds on. */
function isInherited({ inputs }: Node<unknown>): (cause: Cause) => boolean {
  return ({ kind }) => kind === 'parent' || (kind === 'file' && inputs.length > 1)
}

function parentCause({ inputs }: Node<unknown>, byId: ReadonlyMap<string, Node<unknown>>): Cause {
  const [parent] = inputs
  const name = parent === undefined ? undefined : byId.get(parent)?.name
  return { kind: 'parent', subject: name ?? 'what it builds on' }
}
