/**
 * A build, from Dockerfile text to a finished filesystem and config. What becomes of it (an image,
 * a tarball, a push) is decided afterwards: see export/.
 *
 *   parse → split into stages → resolve bases → plan each stage → graph → solve → finish
 */
import { join, resolve } from 'node:path'
import type { DiffId } from '../oci/digest.ts'
import type { ImageConfig } from '../oci/image-config.ts'
import { field } from '../oci/json.ts'
import { suggest } from '../oci/suggest.ts'
import { type BaseImages, baseImages } from './base-images.ts'
import { buildFailure } from './build-error.ts'
import { type BuildGraph, buildGraph } from './build-graph.ts'
import type { BuildRequest, BuildWorld } from './build-request.ts'
import { planChecked } from './check-build.ts'
import { parseIgnore } from './dockerfile/ignore.ts'
import { type Dockerfile, parseDockerfile } from './dockerfile/parse.ts'
import { emptyDirectory } from './empty-directory.ts'
import { finishConfig } from './export/finish-config.ts'
import { memo } from './memo.ts'
import { unusedBuildArgs } from './plan/build-args.ts'
import type { PlannedStage, StagePlan } from './plan/step.ts'
import { refuseUnsupportedSteps } from './plan-build.ts'
import { recordCache } from './record-cache.ts'
import type { StepResult } from './solve/graph.ts'
import { semaphore } from './solve/semaphore.ts'
import { solve } from './solve/solver.ts'
import { sourceDateEpoch } from './source-date-epoch.ts'
import { namedContexts } from './sources/named-contexts.ts'
import { remoteSources } from './sources/remote-sources.ts'
import { openContext } from './steps/open-source.ts'
import { openStatCache } from './steps/open-stat-cache.ts'
import { statCache } from './steps/stat-cache.ts'
import { stepExecutor } from './steps/step-executor.ts'
import type { StepWorld } from './steps/step-world.ts'

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
  const latest = sourceDateEpoch(request.plan.buildArgs)
  const bases = baseImages(world)
  const { dockerfile: file } = request
  const dockerfile = parseDockerfile(file.text, file.name)
  const planned = await planChecked(dockerfile, request, { bases, emit: world.emit })
  refuseUnsupportedSteps(planned)
  warnUnused(dockerfile, request, world)
  const { stages, imageOf } = planned
  const graph = buildGraph({
    dockerfile,
    stages,
    imageOf,
    mustRerun: stage => mustRerun(stage, request),
  })
  const results = await run(graph, { request, world, bases })
  return {
    ...finish(planned.plan.target, { stages, graph, results, request, ...field('latest', latest) }),
    bases,
  }
}

function mustRerun({ name, index }: StagePlan, { rerun }: BuildRequest): boolean {
  if (rerun === 'all') return true
  return rerun.some(asked => asked.toLowerCase() === name || asked === String(index))
}

/** A misspelt name is the likeliest reason (A06). */
function warnUnused(
  { instructions }: Dockerfile,
  { plan }: BuildRequest,
  { emit }: BuildWorld,
): void {
  const args = instructions.filter(instruction => instruction.kind === 'arg')
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
  const { contextName } = request
  await using kept =
    contextName === undefined ? await openStatCache(store.records, request.context, now) : null
  await using sources = remoteSources(world)
  await using contexts = namedContexts(world)
  const stepWorld: StepWorld = {
    snapshots: store.snapshots,
    materialize: bases.materialize,
    context,
    contextCache: kept?.cache ?? statCache({}, now),
    namedContext: contexts.open,
    sources,
    memo: memo(store.records),
    secrets: world.secrets,
    sandbox: world.sandbox,
    cacheMounts: join(store.root, 'cache-mounts'),
    emptyDirectory: await emptyDirectory(store),
    log: (id, stream, bytes) => emit({ kind: 'log', id, stream, bytes }),
    warn: (id, message) => emit({ kind: 'warning', id, message }),
    now,
  }
  const scope = `${contextName ?? resolve(request.context)}\0${request.dockerfile.name}`
  return await solve(graph.nodes, {
    executor: stepExecutor(stepWorld),
    cache: recordCache(store, { scope, signal }),
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
  readonly latest?: Date
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
