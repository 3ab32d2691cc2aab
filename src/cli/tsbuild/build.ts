import { buildPlatforms } from '../../builder/build.ts'
import type { BuildEvent } from '../../builder/build-event.ts'
import type { BuildRequest } from '../../builder/build-request.ts'
import { exportCaches } from '../../builder/cache/export-cache.ts'
import { cacheKeeper } from '../../builder/cache-limit.ts'
import { exportResults, type Output } from '../../builder/export/output.ts'
import type { BuildTitle } from '../../builder/history/recorder.ts'
import { parseContextName } from '../../builder/sources/context-name.ts'
import { field } from '../../oci/json.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { assertWritable } from '../output-file.ts'
import { openWorld } from '../world.ts'
import { type BuildFlags, buildFlags, unsupportedBuildFlags } from './build-flags.ts'
import { parseCacheTo } from './cache/cache-to.ts'
import { parseCall } from './call/call-flag.ts'
import { runCall } from './call/run-call.ts'
import { type Checked, checkOutputs } from './check-outputs.ts'
import { assertContext } from './dockerfile-input.ts'
import { recorded } from './history/recorded.ts'
import { parseOutputs } from './outputs.ts'
import { buildTwice, reproducibleOutputs } from './reproducible.ts'
import { type BuildInvocation, buildArgsOf, parsePlatforms } from './request.ts'
import { writeResultFiles } from './result-files.ts'
import { type BuildPlace, withRequest } from './with-request.ts'

export const buildCommand: Command = defineCommand({
  name: 'build',
  usage: '[FLAGS] PATH|URL|-',
  summary: 'Build an image from a Dockerfile',
  examples: [
    'build -t app .',
    'build -t registry.example.com/app:1.2 --push .',
    'build -f docker/Dockerfile --target test --build-arg VERSION=1.2 .',
    'build -o type=oci,dest=app.tar .',
    'build https://example.com/app.git#v1.2:docker',
  ],
  errorPrefix: 'failed to build: ',
  flags: buildFlags,
  unsupported: unsupportedBuildFlags,
  arity: { min: 1, max: 1 },
  run: runBuild,
})

async function runBuild(invocation: BuildInvocation): Promise<number> {
  const { flags, args, environment, stdout } = invocation
  const call = parseCall(flags)
  const isReproducible = flags.reproducible || flags['verify-reproducible']
  const asked = parseOutputs(flags, { stdout, lookup: environment.lookup })
  const outputs = isReproducible ? reproducibleOutputs(asked) : asked
  const platforms = parsePlatforms(flags.platform)
  const context = parseContextName(args[0] ?? '.')
  assertContext(context, flags.file)
  if (flags['on-error'] === 'shell' && (context.kind === 'stdin' || flags.file === '-')) {
    throw usageError('Flag --on-error=shell needs standard input for the shell')
  }
  for (const file of [flags.iidfile, flags['metadata-file']]) {
    if (file !== undefined) assertWritable(file)
  }
  const buildArgs = buildArgsOf(invocation)
  if (flags.offline) refuseOnline(asked, flags)
  const checked = checkOutputs(asked, { platforms, buildArgs })
  await using world = await openWorld(environment, flags)
  const place = { world, context, platforms, isReproducible }
  const { method } = call
  if (method === 'build') return await buildImage(invocation, { ...place, outputs, ...checked })
  const result = await withRequest(invocation, place, (request, buildWorld) =>
    runCall({ ...call, method }, request, buildWorld),
  )
  stdout.write(result.text)
  if (result.failure !== undefined) throw result.failure
  return result.exitCode
}

function refuseOnline(outputs: readonly Output[], { pull }: BuildFlags): void {
  if (outputs.some(({ kind }) => kind === 'registry')) {
    throw usageError('Flag --offline allows no network, and a push needs it')
  }
  if (pull === 'always') throw usageError('Flag --offline excludes --pull')
}

interface ImagePlace extends BuildPlace, Checked {
  readonly outputs: readonly Output[]
}

async function buildImage(
  invocation: BuildInvocation,
  { outputs, asIndex, needsEpoch, needsFiles, ...place }: ImagePlace,
): Promise<number> {
  const { flags, environment, stdout } = invocation
  const cacheTo = parseCacheTo(flags['cache-to'], {
    client: place.world.registry,
    lookup: environment.lookup,
    offline: flags.offline,
  })
  const keeper = cacheKeeper(place.world.store, { maxUsed: flags['max-used-space'] })
  await keeper.keep('before')
  const warnings: Extract<BuildEvent, { kind: 'warning' }>[] = []
  const { image, caches } = await withRequest(invocation, place, (request, buildWorld) =>
    recorded(titleOf(invocation, request), buildWorld, async ({ emit, ...world }) => {
      const told = {
        ...world,
        asIndex,
        inlineCache: cacheTo.inline || buildArgsOf(invocation).get('BUILDKIT_INLINE_CACHE') === '1',
        emit: (event: BuildEvent) => {
          if (event.kind === 'warning') warnings.push(event)
          if (event.kind === 'done' && event.how === 'worked') keeper.grown()
          emit(event)
        },
      }
      const buildAll = flags['verify-reproducible'] ? buildTwice : buildPlatforms
      const results = await buildAll({ ...request, needsEpoch, needsFiles }, place.platforms, told)
      const image = await exportResults(results, outputs, told)
      return { image, caches: await exportCaches(results, cacheTo.destinations, told) }
    }),
  )
  await writeResultFiles(image, {
    iidfile: flags.iidfile,
    metadataFile: flags['metadata-file'],
    outputs,
    caches,
    ...(environment.lookup('BUILDX_METADATA_WARNINGS') === undefined ? {} : { warnings }),
  })
  if (image !== undefined && flags.quiet) stdout.write(`${image.id}\n`)
  await keeper.keep('after')
  return 0
}

function titleOf({ flags, args }: BuildInvocation, { dockerfile }: BuildRequest): BuildTitle {
  return {
    context: args[0] ?? '.',
    dockerfile: dockerfile.name,
    tags: flags.tag.join(','),
    ...field('target', flags.target),
  }
}
