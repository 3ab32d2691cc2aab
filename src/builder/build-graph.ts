/**
 * From planned stages to the solver's graph: one node per base and per step that changes files.
 *
 *   base:0 ──► 0.1 ──► 0.3             a stage is a chain; metadata has no node
 *                        ╲
 *   base:1 ──► 1.0 ──────► 1.1         COPY --from and mounts read the end of another chain
 */
import type { BaseImage } from './base-images.ts'
import { fromDisplayName } from './plan/stage-label.ts'
import type { CopyStep, Origin, PlannedStage, StagePlan, Step } from './plan/step.ts'
import type { Node } from './solve/graph.ts'
import { contextCopy, isSourced } from './steps/mount-sources.ts'
import type { FilesystemStep, Work } from './steps/step-executor.ts'

export interface GraphInputs {
  /** In an order in which each stage stands after those it needs. */
  readonly stages: readonly PlannedStage[]
  /** The image that an origin names, resolved before. */
  readonly imageOf: (origin: Extract<Origin, { kind: 'image' }>) => BaseImage
  readonly dockerfile: { readonly file: string; readonly source: string }
  readonly mustRerun: (stage: StagePlan) => boolean
}

export interface BuildGraph {
  readonly nodes: readonly Node<Work>[]
  /** The node whose result is the stage's filesystem, by stage index. */
  readonly ends: ReadonlyMap<number, string>
  /** One entry per step of a stage: its node, or nothing for metadata. */
  readonly stepNodes: ReadonlyMap<number, readonly (string | undefined)[]>
}

export function buildGraph(inputs: GraphInputs): BuildGraph {
  const nodes = new Map<string, Node<Work>>()
  const ends = new Map<number, string>()
  const stepNodes = new Map<number, readonly (string | undefined)[]>()
  const add = (node: Node<Work>): string => {
    if (!nodes.has(node.id)) nodes.set(node.id, node)
    return node.id
  }
  const sourceNode = (origin: SourceOrigin): string => {
    if (origin.kind === 'stage') return endOf(ends, origin.stage)
    return add(baseNode(origin, inputs))
  }
  /** What the step reads beside what it builds on, in order. */
  const sourceNodes = (step: FilesystemStep, stage: StagePlan): string[] => {
    if (step.kind === 'copy') return step.from.kind === 'context' ? [] : [sourceNode(step.from)]
    if (step.kind !== 'run') return []
    return step.mounts.filter(isSourced).map(({ from, source }) => {
      if (from.kind !== 'context') return sourceNode(from)
      sourceNode({ kind: 'scratch' })
      return add(contextNode(contextCopy(source, step), stage, inputs))
    })
  }

  for (const planned of inputs.stages) {
    const { stage } = planned
    let end =
      stage.base.kind === 'stage'
        ? endOf(ends, stage.base.stage)
        : add(stageBaseNode(stage, inputs))
    const ids = planned.steps.map((step, index) => {
      if (step.kind === 'metadata') return undefined
      const id = `${stage.index}.${index}`
      end = add({
        id,
        name: step.displayName,
        identity: identityOf(step, stage, inputs),
        inputs: [end, ...sourceNodes(step, stage)],
        work: stepWork(step, stage, inputs),
      })
      return id
    })
    ends.set(stage.index, end)
    stepNodes.set(stage.index, ids)
  }
  return { nodes: [...nodes.values()], ends, stepNodes }
}

type SourceOrigin = Exclude<Origin, { kind: 'context' }>

function endOf(ends: ReadonlyMap<number, string>, stage: number): string {
  const end = ends.get(stage)
  if (end === undefined) throw new Error(`Stage ${stage} is read before it is planned`)
  return end
}

/** As BuildKit shows it: the first of the stage's steps. */
function stageBaseNode(stage: StagePlan, inputs: GraphInputs): Node<Work> {
  const { base } = stage
  if (base.kind === 'stage')
    throw new Error('A stage that builds on a stage has no base of its own')
  const node = baseNode(base, inputs)
  const name = base.kind === 'image' ? fromDisplayName(stage, base.reference) : node.name
  return { ...node, id: `base:${stage.index}`, name }
}

function baseNode(
  origin: Exclude<SourceOrigin, { kind: 'stage' }>,
  { imageOf }: GraphInputs,
): Node<Work> {
  if (origin.kind === 'scratch') {
    const name = 'FROM scratch'
    return { id: 'scratch', name, identity: name, inputs: [], work: { kind: 'base', layers: [] } }
  }
  if (origin.kind === 'named') throw new Error('A named context came through unsupported.ts')
  const { diff_ids: layers } = imageOf(origin).config.value.rootfs
  return {
    id: `image:${JSON.stringify(origin)}`,
    name: `FROM ${origin.reference}`,
    identity: origin.reference,
    inputs: [],
    work: { kind: 'base', layers },
  }
}

function contextNode(step: CopyStep, stage: StagePlan, inputs: GraphInputs): Node<Work> {
  const id = `context:${step.dest}`
  const name = step.displayName
  return { id, name, identity: id, inputs: ['scratch'], work: stepWork(step, stage, inputs) }
}

/** Its stage and its text as written: display names have this build's variables in them. */
function identityOf({ span }: Step, stage: StagePlan, { dockerfile }: GraphInputs): string {
  return `${stage.name ?? stage.index}\0${dockerfile.source.slice(span.start, span.end)}`
}

function stepWork(
  step: FilesystemStep & Step,
  stage: StagePlan,
  { dockerfile: { file }, mustRerun }: GraphInputs,
): Work {
  const place = { file, span: step.span }
  return { kind: 'step', step, place, rerun: mustRerun(stage) ? 'always' : 'never' }
}
