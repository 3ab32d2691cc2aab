/**
 * A build, from Dockerfile text to a finished filesystem and config. What becomes of it (an image,
 * a tarball, a push) is decided afterwards: see export/.
 *
 *   parse → split into stages → resolve bases → plan each stage → graph → solve → finish
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { DiffId } from '../oci/digest.ts'
import type { ImageConfig } from '../oci/image-config.ts'
import { field } from '../oci/json.ts'
import { formatPlatform } from '../oci/platform.ts'
import { suggest } from '../oci/suggest.ts'
import { type BaseImage, type BaseImages, baseImages } from './base-images.ts'
import { buildFailure } from './build-error.ts'
import { type BuildGraph, buildGraph } from './build-graph.ts'
import type { BuildRequest, BuildWorld } from './build-request.ts'
import { atSpan, atSpanAsync } from './dockerfile/error.ts'
import { parseIgnore } from './dockerfile/ignore.ts'
import { type Dockerfile, parseDockerfile } from './dockerfile/parse.ts'
import { finishConfig } from './export/finish-config.ts'
import { memo } from './memo.ts'
import { unusedBuildArgs } from './plan/build-args.ts'
import { addTriggers, type BuildPlan, planStages } from './plan/build-plan.ts'
import { planStage, scratchImage } from './plan/plan-stage.ts'
import type { Origin, PlannedStage, StagePlan } from './plan/step.ts'
import { recordCache } from './record-cache.ts'
import type { StepResult } from './solve/graph.ts'
import { semaphore } from './solve/semaphore.ts'
import { solve } from './solve/solver.ts'
import { openContext } from './steps/open-source.ts'
import { openStatCache } from './steps/open-stat-cache.ts'
import { stepExecutor } from './steps/step-executor.ts'
import type { StepWorld } from './steps/step-world.ts'
import { refuseUnsupported } from './unsupported.ts'

export interface BuildResult {
  readonly config: ImageConfig
  /** The whole stack, lowest first. */
  readonly layers: readonly DiffId[]
  /** For exports, which may need a base layer's blob. */
  readonly bases: BaseImages
}

/**
 * Throws `BuildError`, with an excerpt where a line of the Dockerfile is to blame. The steps that
 * ended well before a failure are in the cache; nothing else is left.
 */
export async function build(request: BuildRequest, world: BuildWorld): Promise<BuildResult> {
  try {
    return await buildTarget(request, world)
  } catch (error) {
    throw buildFailure(error, request.dockerfile.text)
  }
}

async function buildTarget(request: BuildRequest, world: BuildWorld): Promise<BuildResult> {
  const dockerfile = parseDockerfile(request.dockerfile.text, request.dockerfile.name)
  const bases = baseImages(world)
  const plan = await resolveBases(planStages(dockerfile, request.plan), bases)
  warnUnused(dockerfile, request, world)
  const stages = await planAll(plan, bases)
  const images = await imagesOf(stages, bases)
  const graph = buildGraph({
    stages,
    imageOf: origin => imageFor(images, origin),
    file: dockerfile.file,
    mustRerun: stage => mustRerun(stage, request),
  })
  const results = await run(graph, { request, world, bases })
  return { ...finish(plan.target, { stages, graph, results, request }), bases }
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

/** What `COPY --from=IMAGE` reads, by reference and platform. */
async function imagesOf(
  stages: readonly PlannedStage[],
  bases: BaseImages,
): Promise<Map<string, BaseImage>> {
  const origins = stages.flatMap(({ stage }) => [stage.base, ...stage.needs])
  const images = origins.filter(origin => origin.kind === 'image')
  const resolved = images.map(async origin => {
    const image = await bases.resolve(origin.reference, origin.platform)
    return [originKey(origin), image] as const
  })
  return new Map(await Promise.all(resolved))
}

type ImageOrigin = Extract<Origin, { kind: 'image' }>

function originKey({ reference, platform }: ImageOrigin): string {
  return `${reference} ${formatPlatform(platform)}`
}

function mustRerun({ name, index }: StagePlan, { rerun }: BuildRequest): boolean {
  if (rerun === 'all') return true
  return rerun.some(asked => asked.toLowerCase() === name || asked === String(index))
}

function imageFor(images: ReadonlyMap<string, BaseImage>, origin: ImageOrigin): BaseImage {
  const image = images.get(originKey(origin))
  if (image === undefined) throw new Error(`${originKey(origin)} was not resolved`)
  return image
}

function warnUnused(dockerfile: Dockerfile, { plan }: BuildRequest, { emit }: BuildWorld): void {
  const args = dockerfile.instructions.filter(instruction => instruction.kind === 'arg')
  const declared = new Set(args.flatMap(({ args: names }) => names.map(({ name }) => name)))
  for (const name of unusedBuildArgs(plan.buildArgs, declared)) {
    const meant = suggest(name, declared)
    const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`
    emit({ kind: 'warning', message: `build-arg ${name} is not used by the Dockerfile${hint}` })
  }
}

interface RunInputs {
  readonly request: BuildRequest
  readonly world: BuildWorld
  readonly bases: BaseImages
}

async function run(
  graph: BuildGraph,
  { request, world, bases }: RunInputs,
): Promise<ReadonlyMap<string, StepResult>> {
  const { store, emit, signal, now } = world
  using context = openContext(request.context, parseIgnore(request.ignore))
  await using statCache = await openStatCache(store.records, request.context, now)
  const emptyDirectory = join(store.stubs, 'empty')
  await mkdir(emptyDirectory, { recursive: true })
  const stepWorld: StepWorld = {
    snapshots: store.snapshots,
    materialize: bases.materialize,
    context,
    contextCache: statCache.cache,
    memo: memo(store.records),
    secrets: world.secrets,
    sandbox: world.sandbox,
    cacheMounts: join(store.root, 'cache-mounts'),
    emptyDirectory,
    log: (id, stream, bytes) => emit({ kind: 'log', id, stream, bytes }),
    warn: (id, message) => emit({ kind: 'warning', id, message }),
    now,
  }
  return solve(graph.nodes, {
    executor: stepExecutor(stepWorld),
    cache: recordCache(store, { scope: request.dockerfile.name, signal }),
    slots: semaphore(world.parallelism),
    emit,
    signal,
  })
}

interface FinishInputs {
  readonly stages: readonly PlannedStage[]
  readonly graph: BuildGraph
  readonly results: ReadonlyMap<string, StepResult>
  readonly request: BuildRequest
}

function finish(target: StagePlan, inputs: FinishInputs): Omit<BuildResult, 'bases'> {
  const { stages, graph, results, request } = inputs
  const planned = stages.find(({ stage }) => stage.index === target.index)
  const end = results.get(graph.ends.get(target.index) ?? '')
  if (planned === undefined || end === undefined) throw new Error('The target was not built')
  const labels = { ...planned.image.config.Labels, ...Object.fromEntries(request.labels) }
  const config =
    request.labels.size === 0 ? {} : { config: { ...planned.image.config, Labels: labels } }
  const { layers } = end
  return {
    config: finishConfig({
      image: { ...planned.image, ...config },
      steps: stepResults(target, inputs),
      layers,
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
