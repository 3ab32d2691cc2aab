/**
 * A build, from Dockerfile text to a finished filesystem and config. What becomes of it (an image,
 * a tarball, a push) is decided afterwards: see export/.
 *
 *   parse → split into stages → resolve bases → plan each stage → graph → solve → finish
 */
import { resolve } from 'node:path'
import { openEarlySandboxes } from '../layerfs/sandbox/early-sandboxes.ts'
import { openSpawner } from '../layerfs/sandbox/spawner.ts'
import { field } from '../oci/json.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { baseImages } from './base-images.ts'
import { buildFailure } from './build-error.ts'
import { type BuildGraph, buildGraph, followedByRun } from './build-graph.ts'
import type { BuildRequest, BuildWorld } from './build-request.ts'
import type { BuildResult } from './build-result.ts'
import { type CollectedCache, collecting } from './cache/collected-cache.ts'
import { importCaches, withImports } from './cache/imported-cache.ts'
import { restoreMount } from './cache/restore-mount.ts'
import { planChecked } from './check-build.ts'
import { parseIgnore } from './dockerfile/ignore.ts'
import { emptyDirectory } from './empty-directory.ts'
import { explainer } from './explain/explainer.ts'
import { openInventories } from './explain/inventory.ts'
import { readLastBuild, writeLastBuild } from './explain/last-build.ts'
import { type Filesystems, openFilesystems } from './filesystems.ts'
import { finishStage } from './finish-stage.ts'
import { explainForeign } from './foreign-programs.ts'
import { memo } from './memo.ts'
import { mergeGraphs } from './merge-graphs.ts'
import { type BuildPlanned, parseRequested, refuseUnsupportedSteps } from './plan-build.ts'
import { recordCache } from './record-cache.ts'
import { withShell } from './shell.ts'
import type { StepResult, StepSource } from './solve/graph.ts'
import { semaphore } from './solve/semaphore.ts'
import { solve } from './solve/solver.ts'
import { sourceDateEpoch } from './source-date-epoch.ts'
import { type NamedContexts, namedContexts } from './sources/named-contexts.ts'
import { remoteSources } from './sources/remote-sources.ts'
import { parseStepPlace, standsAt } from './step-place.ts'
import { cacheMountsOf } from './steps/cache-mount.ts'
import { openContext } from './steps/open-source.ts'
import { openStatCache } from './steps/open-stat-cache.ts'
import { nothingEarlier, statCache } from './steps/stat-cache.ts'
import { stepExecutor } from './steps/step-executor.ts'
import type { StepWorld } from './steps/step-world.ts'
import { twinResults } from './twin-results.ts'
import { warnUnused } from './warn-unused.ts'

/**
 * Throws `BuildError`, with an excerpt where a line of the Dockerfile is to blame. The steps that
 * ended well before a failure are in the cache; nothing else is left.
 */
export async function build(request: BuildRequest, world: BuildWorld): Promise<BuildResult> {
  const [result] = await buildPlatforms(request, [request.plan.targetPlatform], world)
  if (result === undefined) throw new Error('No platform was built')
  return result
}

/**
 * One result per platform, in the order of `platforms`; a step that is the same for several runs
 * once. Throws as {@link build}: all of them are built, or none.
 */
export async function buildPlatforms(
  request: BuildRequest,
  platforms: readonly Platform[],
  world: BuildWorld,
): Promise<BuildResult[]> {
  try {
    return await buildTargets(request, platforms, world)
  } catch (error) {
    throw buildFailure(error, request.dockerfile.text)
  }
}

async function buildTargets(
  request: BuildRequest,
  platforms: readonly Platform[],
  world: BuildWorld,
): Promise<BuildResult[]> {
  const isMultiPlatform = platforms.length > 1
  const filesystems = openFilesystems(world)
  const bases = baseImages({ ...world, isMultiPlatform, onLayers: filesystems.addStack })
  const parsed = parseRequested(request)
  await using contexts = namedContexts(world)
  const epochWorld = { ...world, bases, namedContexts: contexts }
  const epoch = await sourceDateEpoch(parsed, request, epochWorld)
  const { latest, buildArgs } = epoch
  const { shellAt } = request
  const { dockerfile, target } =
    shellAt === undefined ? { dockerfile: epoch.dockerfile } : withShell(epoch.dockerfile, shellAt)
  const requests = platforms.map(targetPlatform => ({
    ...request,
    plan: {
      ...request.plan,
      buildArgs,
      targetPlatform,
      isMultiPlatform,
      ...field('target', target ?? request.plan.target),
    },
  }))
  const plans = await planChecked(dockerfile, requests, { bases, emit: world.emit })
  for (const planned of plans) refuseUnsupportedSteps(planned)
  warnUnused(dockerfile, request, world)
  const { nodes, graphs } = mergeGraphs(
    plans.map(({ plan, stages, imageOf }) => ({
      platform: formatPlatform(plan.options.targetPlatform),
      graph: buildGraph({
        dockerfile,
        stages,
        imageOf,
        mustRerun: source => mustRerun(source, request),
      }),
    })),
  )
  const platformOf = nodePlatforms(plans, graphs)
  const { results, collected } = await run(nodes, {
    request,
    world,
    contexts,
    filesystems,
    platforms,
    platformOf,
  })
  return plans.map(({ plan, stages }, index) => {
    const graph = graphs[index]
    if (graph === undefined) throw new Error('A plan without a graph')
    const inputs = { stages, graph, results, labels: request.labels, ...field('latest', latest) }
    const { targetPlatform: platform } = plan.options
    return {
      ...finishStage(plan.target, inputs),
      ...field('latest', latest),
      platform,
      filesystems,
      collected,
    }
  })
}

/** For which machine each step's programs are. */
function nodePlatforms(
  plans: readonly BuildPlanned[],
  graphs: readonly BuildGraph[],
): ReadonlyMap<string, Platform> {
  return new Map(
    plans.flatMap(({ stages }, index) =>
      stages.flatMap(({ stage }) =>
        (graphs[index]?.stepNodes.get(stage.index) ?? []).flatMap(id =>
          id === undefined ? [] : [[id, stage.platform] as const],
        ),
      ),
    ),
  )
}

function mustRerun(source: StepSource, { rerun }: BuildRequest): boolean {
  if (rerun === 'all') return true
  return rerun.some(asked => {
    const place = parseStepPlace(asked)
    return place !== undefined && standsAt(source, place)
  })
}

interface RunInputs {
  readonly request: BuildRequest
  readonly world: BuildWorld
  readonly contexts: NamedContexts
  readonly filesystems: Filesystems
  readonly platforms: readonly Platform[]
  readonly platformOf: ReadonlyMap<string, Platform>
}

function mountIds(nodes: BuildGraph['nodes']): string[] {
  const ids = nodes.flatMap(({ work }) =>
    work.kind === 'step' && work.step.kind === 'run'
      ? work.step.mounts.flatMap(mount =>
          mount.kind === 'cache' && mount.from.kind === 'scratch' ? [mount.id] : [],
        )
      : [],
  )
  return [...new Set(ids)]
}

interface RunOutcome {
  readonly results: ReadonlyMap<string, StepResult>
  readonly collected: CollectedCache
}

async function run(
  nodes: BuildGraph['nodes'],
  { request, world, contexts, filesystems, platforms, platformOf }: RunInputs,
): Promise<RunOutcome> {
  const { store, emit, signal, now } = world
  using context = openContext(request.context, parseIgnore(request.ignore))
  const { contextName } = request
  using spawner = openSpawner()
  await using early = openEarlySandboxes(spawner)
  const inventories = openInventories(store.records)
  await using kept =
    contextName === undefined ? await openStatCache(store.records, request.context, now) : null
  await using sources = remoteSources(world)
  const scope = `${contextName ?? resolve(request.context)}\0${request.dockerfile.name}`
  const imports = importCaches(world.cacheFrom, platforms, { store, filesystems, emit, signal })
  const own = { cache: recordCache(store, { inventories, signal }), memo: memo(store.records) }
  const { cache, memo: answers, collected } = collecting(withImports(own, imports))
  const stepWorld: StepWorld = {
    snapshots: store.snapshots,
    filesystems,
    context,
    contextCache: kept?.cache ?? statCache(nothingEarlier, now),
    namedContext: contexts.open,
    sources,
    memo: answers,
    twins: twinResults(store, { takes: request.rerun !== 'all' }),
    inventories,
    secrets: world.secrets,
    ...field('shell', world.shell),
    sandbox: world.sandbox,
    spawner,
    early,
    followed: followedByRun(nodes),
    read: new Set(nodes.flatMap(({ id, inputs }) => (request.needsFiles ? [id] : inputs))),
    cacheMounts: cacheMountsOf(store),
    ...(world.cacheFrom.length === 0
      ? {}
      : { restoreMount: mount => restoreMount(mount, { store, imports, emit }) }),
    emptyDirectory: emptyDirectory(store),
    log: (id, stream, bytes) => emit({ kind: 'log', id, stream, bytes }),
    warn: (id, message) => emit({ kind: 'warning', id, message }),
    now,
  }
  const last = await readLastBuild(store.records, scope)
  const explain = explainer({ nodes, last, inventories })
  await using _remembered = {
    [Symbol.asyncDispose]: async () => {
      // What comes to a shell is part of a build, with a step that no other has.
      if (request.shellAt !== undefined) return
      // A full disk costs the next build an explanation, no more.
      await writeLastBuild(store.records, scope, explain.steps()).catch(() => {})
    },
  }
  const executor = stepExecutor(stepWorld)
  const { buildPlatform: host } = request.plan
  const results = await solve(nodes, {
    executor: {
      ...executor,
      execute: (node, inputs, stop) =>
        executor.execute(node, inputs, stop).catch((error: unknown) => {
          throw explainForeign(error, platformOf.get(node.id) ?? host, host)
        }),
    },
    explain,
    cache,
    slots: semaphore(world.parallelism),
    emit,
    signal,
  })
  return { results, collected: { ...collected, mounts: mountIds(nodes), imports } }
}
