/**
 * The graphs of several platforms as one: a step that is the same for all of them runs once.
 *
 *   linux/amd64  base ─► RUN ─► COPY --from        base ─► RUN ─┬► linux/amd64 COPY --from
 *   linux/arm64  base ─► RUN ─► COPY --from   →                 └► linux/arm64 COPY --from
 */
import type { BuildGraph } from './build-graph.ts'
import type { Node } from './solve/graph.ts'
import type { Work } from './steps/step-executor.ts'

export interface PlatformGraph {
  /** `linux/arm64` */
  readonly platform: string
  readonly graph: BuildGraph
}

export interface MergedGraphs {
  readonly nodes: readonly Node<Work>[]
  /** One per graph, in their order; their ids are those of `nodes`. */
  readonly graphs: readonly BuildGraph[]
}

export function mergeGraphs(graphs: readonly PlatformGraph[]): MergedGraphs {
  const [only] = graphs
  if (only !== undefined && graphs.length === 1) {
    return { nodes: only.graph.nodes, graphs: [only.graph] }
  }
  const nodes = new Map<string, Node<Work>>()
  const merged = graphs.map(({ platform, graph }) => {
    const ids = new Map<string, string>()
    for (const node of graph.nodes) {
      const inputs = node.inputs.map(id => idIn(ids, id))
      const sameness = JSON.stringify([inputs, workAlone(node.work)])
      const known = nodes.get(sameness)
      const id = known?.id ?? `${platform.replaceAll('/', '_')}-${node.id}`
      ids.set(node.id, id)
      const { place, text } = node.identity
      const identity = { place: `${platform} ${place}`, text }
      if (known === undefined) nodes.set(sameness, { ...node, id, identity, inputs })
    }
    return renamed(graph, id => idIn(ids, id))
  })
  return { nodes: [...nodes.values()], graphs: merged }
}

function idIn(ids: ReadonlyMap<string, string>, id: string): string {
  const found = ids.get(id)
  if (found === undefined) throw new Error(`Node ${id} is read before it is planned`)
  return found
}

/** What a node does, without how it is called: names say the platform. */
function workAlone(work: Work): object {
  return work.kind !== 'step' ? work : { ...work, step: { ...work.step, displayName: '' } }
}

function renamed(graph: BuildGraph, name: (id: string) => string): BuildGraph {
  const ends = [...graph.ends].map(([stage, id]) => [stage, name(id)] as const)
  const stepNodes = [...graph.stepNodes].map(
    ([stage, ids]) => [stage, ids.map(id => (id === undefined ? undefined : name(id)))] as const,
  )
  return { nodes: graph.nodes, ends: new Map(ends), stepNodes: new Map(stepNodes) }
}
