/** From the results of all steps to what a stage has become: its layers and its config. */
import { field } from '../oci/json.ts'
import type { BuildGraph } from './build-graph.ts'
import type { BuildRequest } from './build-request.ts'
import type { BuildResult } from './build-result.ts'
import { finishConfig } from './export/finish-config.ts'
import type { PlannedStage, StagePlan } from './plan/step.ts'
import type { StepResult } from './solve/graph.ts'

export interface FinishInputs {
  readonly stages: readonly PlannedStage[]
  readonly graph: BuildGraph
  readonly results: ReadonlyMap<string, StepResult>
  readonly labels: BuildRequest['labels']
  readonly latest?: Date
}

/** Throws only for bugs: a stage that was not built. */
export function finishStage(
  target: StagePlan,
  inputs: FinishInputs,
): Pick<BuildResult, 'config' | 'layers'> {
  const { stages, graph, results, labels: given } = inputs
  const planned = stages.find(({ stage }) => stage.index === target.index)
  const end = results.get(graph.ends.get(target.index) ?? '')
  if (planned === undefined || end === undefined) throw new Error('The target was not built')
  const labels = { ...planned.image.config.Labels, ...Object.fromEntries(given) }
  const config = given.size === 0 ? {} : { config: { ...planned.image.config, Labels: labels } }
  const { layers } = end
  return {
    config: finishConfig({
      image: { ...planned.image, ...config },
      steps: stepResults(target, inputs),
      layers,
      ...field('latest', inputs.latest),
    }),
    layers,
  }
}

/** Of the target and the stages it builds on, in the order of its history. */
function stepResults(stage: StagePlan, inputs: FinishInputs): (StepResult | undefined)[] {
  const { stages, graph, results } = inputs
  const { base } = stage
  const below =
    base.kind === 'stage' ? stages.find(other => other.stage.index === base.stage) : undefined
  const own = graph.stepNodes.get(stage.index) ?? []
  return [
    ...(below === undefined ? [] : stepResults(below.stage, inputs)),
    ...own.map(id => (id === undefined ? undefined : results.get(id))),
  ]
}
