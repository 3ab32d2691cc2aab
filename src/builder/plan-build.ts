/**
 * Planning a build: the pure planner, fed with the configs of the base images it asks for.
 */

import { hasCode, OciError } from '../oci/errors.ts'
import type { ImageConfig } from '../oci/image-config.ts'
import { field } from '../oci/json.ts'
import { formatPlatform } from '../oci/platform.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import type { BaseImage, BaseImages } from './base-images.ts'
import type { BuildRequest } from './build-request.ts'
import { atSpan, atSpanAsync } from './dockerfile/error.ts'
import { parseIgnore } from './dockerfile/ignore.ts'
import type { Finding } from './dockerfile/lint-rule.ts'
import { type Dockerfile, parseDockerfile } from './dockerfile/parse.ts'
import type { Span } from './dockerfile/span.ts'
import { refuseForbidden } from './entitlements.ts'
import { addTriggers, type BuildPlan, planStages } from './plan/build-plan.ts'
import { defaultArgFindings, ignoredFileFindings, platformFinding } from './plan/lint-plan.ts'
import { planStage, scratchImage } from './plan/plan-stage.ts'
import { suggestImage } from './plan/stage-lookup.ts'
import type { OutsideOrigin, PlannedStage, StageInstruction, StagePlan } from './plan/step.ts'
import { refuseUnsupported } from './unsupported.ts'

/** What is asked for, in the language that is asked for (D04). Throws DockerfileError. */
export function parseRequested({
  dockerfile,
  plan,
}: Pick<BuildRequest, 'dockerfile' | 'plan'>): Dockerfile {
  return parseDockerfile(
    dockerfile.text,
    dockerfile.name,
    plan.buildArgs.get('BUILDKIT_SYNTAX') || undefined,
  )
}

export interface BuildPlanned {
  readonly plan: BuildPlan
  /** In an order in which each stage stands after those it needs. */
  readonly stages: readonly PlannedStage[]
  /** The image that an origin is; `undefined` for a named context of files. */
  readonly imageOf: (origin: OutsideOrigin) => BaseImage | undefined
}

export interface Planning {
  readonly bases: BaseImages
  /** `all`: also stages that the target does not need. */
  readonly stages: 'needed' | 'all'
  /** Takes what build checks say, in order of discovery: it is there also when planning fails. */
  readonly findings: Finding[]
}

/**
 * Throws DockerfileError. What can be planned and not be run yet is not refused here: see
 * {@link refuseUnsupportedSteps}.
 */
export async function planBuild(
  dockerfile: Dockerfile,
  request: Pick<BuildRequest, 'plan' | 'ignore'>,
  planning: Planning,
): Promise<BuildPlanned> {
  const { bases, findings } = planning
  // Told also when the default is what the build fails on.
  findings.push(...defaultArgFindings(dockerfile, request.plan))
  const first = planStages(dockerfile, request.plan)
  findings.push(...first.findings)
  const plan = await resolveBases(first, planning)
  const stages = await planAll(plan, planning)
  const ignore = parseIgnore(request.ignore)
  findings.push(...stages.flatMap(planned => ignoredFileFindings(planned, ignore)))
  const images = await imagesOf(plan, stages, bases)
  return { plan, stages, imageOf: origin => images.get(originKey(origin)) }
}

/**
 * Resolves every image that the target needs. An image with ONBUILD triggers adds instructions,
 * which may need more stages and images: hence again, until nothing is new.
 */
async function resolveBases(first: BuildPlan, planning: Planning): Promise<BuildPlan> {
  let plan = first
  for (;;) {
    const found = await triggersOf(plan, planning)
    if (found.length === 0) return plan
    plan = addTriggers(plan, new Map(found))
  }
}

function stagesOf(plan: BuildPlan, { stages }: Planning): readonly StagePlan[] {
  return stages === 'all' ? plan.all : plan.stages
}

async function triggersOf(plan: BuildPlan, planning: Planning) {
  const { bases } = planning
  const stages = stagesOf(plan, planning).filter(({ index }) => !plan.triggers.has(index))
  const found = await Promise.all(
    stages.map(async stage => {
      const image = await baseOf(plan, stage, bases)
      return [stage.index, image?.config.value.config.OnBuild ?? []] as const
    }),
  )
  return found.filter(([, onBuild]) => onBuild.length > 0)
}

async function baseOf(
  plan: BuildPlan,
  { base, span }: StagePlan,
  bases: BaseImages,
): Promise<BaseImage | undefined> {
  if (base.kind !== 'image' && base.kind !== 'named') return undefined
  return findOutside(plan, { origin: base, span }, bases)
}

interface Use {
  readonly origin: OutsideOrigin
  readonly span: Span
}

async function findOutside(
  plan: BuildPlan,
  { origin, span }: Use,
  bases: BaseImages,
): Promise<BaseImage | undefined> {
  const { file } = plan.dockerfile
  return atSpanAsync({ file, span }, () =>
    bases.find(origin).catch((error: unknown) => {
      throw origin.kind === 'image' ? suggesting(error, plan, origin.reference) : error
    }),
  )
}

/** What no registry knows is often a stage's name, or a well-known image's, misspelt. */
function suggesting(error: unknown, { all }: BuildPlan, reference: string): unknown {
  const codes = ['not-found', 'denied', 'unauthenticated'] as const
  if (!(error instanceof OciError) || !codes.some(code => hasCode(error, code))) return error
  const name = familiarReference(parseReference(reference)).replace(/:latest$/, '')
  const meant = suggestImage(all, name)
  if (meant === '') return error
  return new OciError(error.code, `${error.message}${meant}`, {
    cause: error,
    ...field('hint', error.hint),
  })
}

/** Each stage after those it builds on: its ENV and ARGs begin with theirs. */
async function planAll(plan: BuildPlan, planning: Planning): Promise<PlannedStage[]> {
  const { bases, findings } = planning
  const planned = new Map<number, PlannedStage>()
  for (const stage of stagesOf(plan, planning)) {
    const { base } = stage
    const image = await baseOf(plan, stage, bases)
    const parent = base.kind === 'stage' ? planned.get(base.stage) : undefined
    const config = parent?.image ?? image?.config.value ?? configWithoutImage(stage)
    if (image !== undefined) findings.push(...platformFinding(stage, config))
    const from = { image: config, findings, ...field('scope', parent?.scope) }
    planned.set(stage.index, planStage(plan, stage, from))
  }
  return [...planned.values()]
}

/** Of `scratch`, and of a named context of files, which is one layer. */
function configWithoutImage({ base, platform }: StagePlan): ImageConfig {
  const config = scratchImage(platform)
  if (base.kind !== 'named') return config
  return { ...config, history: [{ created_by: `FROM ${base.name} # build context` }] }
}

/** Throws `unsupported`, at its line, for what this release does not run yet. */
export function refuseUnsupportedSteps({ plan, stages }: BuildPlanned): void {
  const { file } = plan.dockerfile
  const { allowed = new Set() } = plan.options
  for (const step of stages.flatMap(({ steps }) => steps)) {
    atSpan({ file, span: step.span }, () => {
      refuseForbidden(step, allowed)
      refuseUnsupported(step)
    })
  }
}

/** Bases, and what `COPY --from=IMAGE` reads, by reference and platform. */
async function imagesOf(
  plan: BuildPlan,
  stages: readonly PlannedStage[],
  bases: BaseImages,
): Promise<Map<string, BaseImage | undefined>> {
  const resolved = stages
    .flatMap(({ stage }) => usesOf(stage))
    .map(async use => [originKey(use.origin), await findOutside(plan, use, bases)] as const)
  return new Map(await Promise.all(resolved))
}

/** Every image that the stage names, with the line that does. */
function usesOf({ base, span, instructions }: StagePlan): Use[] {
  const uses: readonly Pick<StageInstruction, 'origins' | 'span'>[] = [
    { origins: [base], span },
    ...instructions,
  ]
  return uses.flatMap(({ origins, span }) =>
    origins
      .filter(origin => origin.kind === 'image' || origin.kind === 'named')
      .map(origin => ({ origin, span })),
  )
}

function originKey(origin: OutsideOrigin): string {
  const name = origin.kind === 'image' ? origin.reference : `${origin.name} (context)`
  return `${name} ${formatPlatform(origin.platform)}`
}
