/**
 * From planned stages to the solver's graph: one node per base and per step that changes files.
 *
 *   base:0 ──► 0.1 ──► 0.3             a stage is a chain; metadata has no node
 *                        ╲
 *   base:1 ──► 1.0 ──────► 1.1         COPY --from and mounts read the end of another chain
 *                ╲
 *    scratch ──► 1.2 ──► 1.2 laid      COPY --link is copied to nothing, then laid on its base
 */
import type { BaseImage } from './base-images.ts'
import type { Span } from './dockerfile/span.ts'
import { fromDisplayName } from './plan/stage-label.ts'
import type { Origin, OutsideOrigin, PlannedStage, RunStep, StagePlan, Step } from './plan/step.ts'
import type { Node, StepIdentity, StepSource } from './solve/graph.ts'
import { isSourced } from './steps/mount-sources.ts'
import { plainCopy } from './steps/plain-copy.ts'
import type { FilesystemStep, Work } from './steps/step-executor.ts'

export interface GraphInputs {
  /** In an order in which each stage stands after those it needs. */
  readonly stages: readonly PlannedStage[]
  /** The image that an origin is, resolved before; `undefined` for a named context of files. */
  readonly imageOf: (origin: OutsideOrigin) => BaseImage | undefined
  readonly dockerfile: { readonly file: string; readonly source: string }
  readonly mustRerun: (source: StepSource) => boolean
}

export interface BuildGraph {
  readonly nodes: readonly Node<Work>[]
  /** The node whose result is the stage's filesystem, by stage index. */
  readonly ends: ReadonlyMap<number, string>
  /** One entry per step of a stage: its node, or nothing for metadata. */
  readonly stepNodes: ReadonlyMap<number, readonly (string | undefined)[]>
}

/** The nodes that a RUN is built on, with whatever in between. */
export function followedByRun(nodes: readonly Node<Work>[]): ReadonlySet<string> {
  const followed = new Set<string>()
  // Backwards: who reads stands behind what it reads.
  for (const { id, inputs, work } of nodes.toReversed()) {
    const isRun = work.kind === 'step' && work.step.kind === 'run'
    const [below] = inputs
    if (below !== undefined && (isRun || followed.has(id))) followed.add(below)
  }
  return followed
}

export function buildGraph(inputs: GraphInputs): BuildGraph {
  const nodes = new Map<string, Node<Work>>()
  const ends = new Map<number, string>()
  const stepNodes = new Map<number, readonly (string | undefined)[]>()
  const add = (node: Node<Work>): string => {
    if (!nodes.has(node.id)) nodes.set(node.id, node)
    return node.id
  }
  const sourceNode = (origin: SourceOrigin, stage: StagePlan): string => {
    if (origin.kind === 'stage') return endOf(ends, origin.stage)
    if (!isFiles(origin, inputs)) return add(baseNode(origin, inputs))
    sourceNode({ kind: 'scratch' }, stage)
    return add(filesNode(origin, stage, inputs))
  }
  /** What the step reads beside what it builds on, in order. */
  const sourceNodes = (step: FilesystemStep, stage: StagePlan): string[] => {
    if (step.kind === 'copy') {
      // The files of contexts are read where they are.
      const isContext = step.from.kind === 'context' || isFiles(step.from, inputs)
      return isContext ? [] : [sourceNode(step.from, stage)]
    }
    if (step.kind !== 'run') return []
    return step.mounts.filter(isSourced).map(({ from, source }) => {
      if (from.kind !== 'context') return sourceNode(from, stage)
      sourceNode({ kind: 'scratch' }, stage)
      return add(contextNode(source, { stage, step, inputs }))
    })
  }

  for (const planned of inputs.stages) {
    const { stage } = planned
    let end =
      stage.base.kind === 'stage'
        ? endOf(ends, stage.base.stage)
        : isFiles(stage.base, inputs)
          ? sourceNode(stage.base, stage)
          : add(stageBaseNode(stage, inputs))
    const ids = planned.steps.map((step, index) => {
      if (step.kind === 'metadata') return undefined
      const isApart = step.kind === 'copy' && step.link
      const node: Node<Work> = {
        id: `${stage.index}.${index}`,
        name: step.displayName,
        identity: identityOf(step, stage, inputs),
        source: sourceOf(step, stage),
        inputs: [
          isApart ? sourceNode({ kind: 'scratch' }, stage) : end,
          ...sourceNodes(step, stage),
        ],
        work: stepWork(step, stage, inputs),
      }
      add(node)
      end = isApart ? add(layNode(end, node)) : node.id
      return end
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
  const identity = { place: placeOf(stage), text: node.identity.text }
  return { ...node, id: `base:${stage.index}`, name, identity, source: sourceOf(stage, stage) }
}

function baseNode(
  origin: Exclude<SourceOrigin, { kind: 'stage' }>,
  { imageOf }: GraphInputs,
): Node<Work> {
  if (origin.kind === 'scratch') {
    const name = 'FROM scratch'
    const identity = { place: '', text: name }
    return { id: 'scratch', name, identity, inputs: [], work: { kind: 'base', layers: [] } }
  }
  const image = imageOf(origin)
  if (image === undefined) throw new Error(`${JSON.stringify(origin)} was not resolved`)
  const { diff_ids: layers } = image.config.value.rootfs
  return {
    id: `image:${JSON.stringify(origin)}`,
    name: `FROM ${image.name}`,
    identity: { place: '', text: `FROM ${image.name}` },
    facts: { [`image ${image.name}`]: image.manifest.digest },
    inputs: [],
    work: { kind: 'base', layers },
  }
}

/** COPY --link: the files are copied to nothing, and the layer laid on what is there (C20). */
function layNode(below: string, { id, name, identity }: Node<Work>): Node<Work> {
  return {
    id: `${id} laid`,
    name: `${name} (laid on its base)`,
    identity: { place: identity.place, text: `${identity.text} (laid on its base)` },
    inputs: [below, id],
    work: { kind: 'lay' },
  }
}

type NamedOrigin = Extract<Origin, { kind: 'named' }>

function isFiles(origin: Origin, { imageOf }: GraphInputs): origin is NamedOrigin {
  return origin.kind === 'named' && imageOf(origin) === undefined
}

/** A named context of files as a filesystem: one layer with all of them (F11). */
function filesNode(from: NamedOrigin, stage: StagePlan, inputs: GraphInputs): Node<Work> {
  const name = `[context ${from.name}] load`
  const step = plainCopy({ from, path: '/', span: stage.span, displayName: name })
  const work = stepWork(step, stage, inputs)
  const identity = { place: '', text: name }
  return { id: `files:${from.name}`, name, identity, inputs: ['scratch'], work }
}

interface ContextUse {
  readonly stage: StagePlan
  readonly step: RunStep
  readonly inputs: GraphInputs
}

/**
 * What a mount shows of the build context, as a copy of its own: .dockerignore applies to it, its
 * files belong to root, and nothing that runs can reach the user's (R09).
 */
function contextNode(path: string, { stage, step: { span }, inputs }: ContextUse): Node<Work> {
  const id = `context:${path}`
  const name = `[internal] load build context ${path}`
  const step = plainCopy({ from: { kind: 'context' }, path, span, displayName: name })
  const identity = { place: '', text: name }
  return { id, name, identity, inputs: ['scratch'], work: stepWork(step, stage, inputs) }
}

/** Its stage and its text as written: display names have this build's variables in them. */
function identityOf({ span }: Step, stage: StagePlan, { dockerfile }: GraphInputs): StepIdentity {
  return { place: placeOf(stage), text: dockerfile.source.slice(span.start, span.end).trim() }
}

function placeOf({ name, index }: StagePlan): string {
  return name ?? String(index)
}

function sourceOf({ span }: { readonly span: Span }, stage: StagePlan): StepSource {
  return { stage: placeOf(stage), index: stage.index, lines: [span.startLine, span.endLine] }
}

function stepWork(
  step: FilesystemStep & Step,
  stage: StagePlan,
  { dockerfile: { file }, mustRerun }: GraphInputs,
): Work {
  const place = { file, span: step.span }
  return { kind: 'step', step, place, rerun: mustRerun(sourceOf(step, stage)) ? 'always' : 'never' }
}
