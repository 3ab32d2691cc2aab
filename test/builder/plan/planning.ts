/** What the tests of the planner share. */
import { DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import type { Finding } from '../../../src/builder/dockerfile/lint-rule.ts'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'
import type { PlanOptions } from '../../../src/builder/plan/build-args.ts'
import { addTriggers, type BuildPlan, planStages } from '../../../src/builder/plan/build-plan.ts'
import { planStage, scratchImage } from '../../../src/builder/plan/plan-stage.ts'
import type { PlannedStage, Step } from '../../../src/builder/plan/step.ts'
import type { ImageConfig, RunConfig } from '../../../src/oci/image-config.ts'

export const amd64 = { os: 'linux', architecture: 'amd64' } as const
export const arm64 = { os: 'linux', architecture: 'arm64' } as const

export interface Given {
  readonly target?: string
  readonly buildArgs?: Readonly<Record<string, string>>
  readonly targetPlatform?: PlanOptions['targetPlatform']
  readonly isMultiPlatform?: boolean
  readonly namedContexts?: readonly string[]
  /** Configs of base images, by a part of their reference; others are plain. */
  readonly bases?: Readonly<Record<string, RunConfig>>
}

export function planText(text: string, given: Given = {}): BuildPlan {
  const options: PlanOptions = {
    ...(given.target === undefined ? {} : { target: given.target }),
    buildArgs: new Map(Object.entries(given.buildArgs ?? {})),
    buildPlatform: amd64,
    targetPlatform: given.targetPlatform ?? amd64,
    isMultiPlatform: given.isMultiPlatform ?? false,
    namedContexts: new Set(given.namedContexts),
  }
  let plan = planStages(parseDockerfile(text), options)
  for (const { index, base } of plan.all) {
    const triggers = base.kind === 'image' ? baseConfig(base.reference, given).config.OnBuild : []
    if (triggers !== undefined && triggers.length > 0)
      plan = addTriggers(plan, new Map([[index, triggers]]))
  }
  return plan
}

function baseConfig(reference: string, given: Given): ImageConfig {
  const known = Object.entries(given.bases ?? {}).find(([name]) => reference.includes(name))
  return {
    ...amd64,
    config: known?.[1] ?? { Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [] },
    history: [{ created_by: 'base' }],
  }
}

export type Planned = PlannedStage & { readonly findings: readonly Finding[] }

/** All stages that the target needs, planned in order; the target is last. */
export function planAll(text: string, given: Given = {}): Planned[] {
  const plan = planText(text, given)
  const planned = new Map<number, Planned>()
  for (const stage of plan.stages) {
    const parent = stage.base.kind === 'stage' ? planned.get(stage.base.stage) : undefined
    const own =
      stage.base.kind === 'image'
        ? baseConfig(stage.base.reference, given)
        : scratchImage(stage.platform)
    const base =
      parent === undefined ? { image: own } : { image: parent.image, scope: parent.scope }
    planned.set(stage.index, planStage(plan, stage, base))
  }
  return [...planned.values()]
}

/** The target. */
export function planTarget(text: string, given: Given = {}): Planned {
  const target = planAll(text, given).at(-1)
  if (target === undefined) throw new Error('nothing was planned')
  return target
}

/** The last step of the target that is of this kind. */
export function lastStep<Kind extends Step['kind']>(
  kind: Kind,
  text: string,
  given: Given = {},
): Extract<Step, { kind: Kind }> {
  const found = planTarget(text, given).steps.filter(
    (step): step is Extract<Step, { kind: Kind }> => step.kind === kind,
  )
  const last = found.at(-1)
  if (last === undefined) throw new Error(`no ${kind} step`)
  return last
}

/** The texts that the target's instructions add to history. */
export function historyOf(text: string, given: Given = {}): (string | undefined)[] {
  return planTarget(text, given).steps.map(step => step.historyText)
}

/** The error that planning ends in. */
export function planFailure(text: string, given: Given = {}): DockerfileError {
  try {
    planAll(text, given)
  } catch (error) {
    if (error instanceof DockerfileError) return error
    throw error
  }
  throw new Error('planned without error')
}
