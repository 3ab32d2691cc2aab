/**
 * Planning a build: the pure planner, fed with the configs of the base images it asks for.
 */

import { field } from '../oci/json.ts'
import { formatPlatform } from '../oci/platform.ts'
import type { BaseImage, BaseImages } from './base-images.ts'
import type { BuildRequest } from './build-request.ts'
import { atSpan, atSpanAsync } from './dockerfile/error.ts'
import { type Dockerfile, parseDockerfile } from './dockerfile/parse.ts'
import { addTriggers, type BuildPlan, planStages } from './plan/build-plan.ts'

import { planStage, scratchImage } from './plan/plan-stage.ts'
import type { Origin, PlannedStage, StageInstruction, StagePlan } from './plan/step.ts'
import { refuseUnsupported } from './unsupported.ts'

export interface BuildPlanned {
  readonly dockerfile: Dockerfile
  readonly target: StagePlan
  /** In an order in which each stage stands after those it needs. */
  readonly stages: readonly PlannedStage[]
  /** The image that an origin names. */
  readonly imageOf: (origin: ImageOrigin) => BaseImage
}

type ImageOrigin = Extract<Origin, { kind: 'image' }>

/** Throws DockerfileError; `unsupported`, at its line, for what is not there yet. */
export async function planBuild(request: BuildRequest, bases: BaseImages): Promise<BuildPlanned> {
  const dockerfile = parseDockerfile(request.dockerfile.text, request.dockerfile.name)
  const plan = await resolveBases(planStages(dockerfile, request.plan), bases)
  const stages = await planAll(plan, bases)
  const images = await imagesOf(stages, { bases, file: plan.dockerfile.file })
  return {
    dockerfile,
    target: plan.target,
    stages,
    imageOf: origin => imageFor(images, origin),
  }
}

/**
 * Resolves every image that the target needs. An image with ONBUILD triggers adds instructions,
 * which may need more stages and images: hence again, until nothing is new.
 */
async function resolveBases(first: BuildPlan, bases: BaseImages): Promise<BuildPlan> {
  let plan = first
  for (;;) {
    const found = await triggersOf(plan, bases)
    if (found.length === 0) return plan
    for (const [stage, onBuild] of found) plan = addTriggers(plan, stage, onBuild)
  }
}

async function triggersOf(plan: BuildPlan, bases: BaseImages) {
  const stages = plan.stages.filter(({ index }) => !plan.triggers.has(index))
  const found = await Promise.all(
    stages.map(async stage => {
      const image = await baseOf(plan, stage, bases)
      return [stage.index, image?.config.value.config.OnBuild ?? []] as const
    }),
  )
  return found.filter(([, onBuild]) => onBuild.length > 0)
}

async function baseOf(
  { dockerfile: { file } }: BuildPlan,
  { base, span }: StagePlan,
  bases: BaseImages,
): Promise<BaseImage | undefined> {
  if (base.kind !== 'image') return undefined
  return atSpanAsync({ file, span }, () => bases.resolve(base.reference, base.platform))
}

/** Each stage after those it builds on: its ENV and ARGs begin with theirs. */
async function planAll(plan: BuildPlan, bases: BaseImages): Promise<PlannedStage[]> {
  const planned = new Map<number, PlannedStage>()
  for (const stage of plan.stages) {
    const { base } = stage
    const image = await baseOf(plan, stage, bases)
    const parent = base.kind === 'stage' ? planned.get(base.stage) : undefined
    const config = parent?.image ?? image?.config.value ?? scratchImage(stage.platform)
    const result = planStage(plan, stage, { image: config, ...field('scope', parent?.scope) })
    refuseSteps(result, plan.dockerfile.file)
    planned.set(stage.index, result)
  }
  return [...planned.values()]
}

function refuseSteps({ steps }: PlannedStage, file: string): void {
  for (const step of steps) atSpan({ file, span: step.span }, () => refuseUnsupported(step))
}

/** Bases, and what `COPY --from=IMAGE` reads, by reference and platform. */
async function imagesOf(
  stages: readonly PlannedStage[],
  { bases, file }: { readonly bases: BaseImages; readonly file: string },
): Promise<Map<string, BaseImage>> {
  const resolved = stages
    .flatMap(({ stage }) => usesOf(stage))
    .map(async ({ origin, span }) => {
      const image = await atSpanAsync({ file, span }, () =>
        bases.resolve(origin.reference, origin.platform),
      )
      return [originKey(origin), image] as const
    })
  return new Map(await Promise.all(resolved))
}

/** Every image that the stage names, with the line that does. */
function usesOf({ base, span, instructions }: StagePlan) {
  const uses: readonly Pick<StageInstruction, 'origins' | 'span'>[] = [
    { origins: [base], span },
    ...instructions,
  ]
  return uses.flatMap(({ origins, span }) =>
    origins.filter(origin => origin.kind === 'image').map(origin => ({ origin, span })),
  )
}

function originKey({ reference, platform }: ImageOrigin): string {
  return `${reference} ${formatPlatform(platform)}`
}

function imageFor(images: ReadonlyMap<string, BaseImage>, origin: ImageOrigin): BaseImage {
  const image = images.get(originKey(origin))
  if (image === undefined) throw new Error(`${originKey(origin)} was not resolved`)
  return image
}
