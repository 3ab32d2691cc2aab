import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { build } from '../../builder/build.ts'
import type { BuildRequest, BuildWorld } from '../../builder/build-request.ts'
import { exportResult } from '../../builder/export/output.ts'
import type { WrittenImage } from '../../builder/export/write-image.ts'
import {
  type ContextDirectory,
  openContextDirectory,
} from '../../builder/sources/context-directory.ts'
import { type ContextName, parseContextName } from '../../builder/sources/context-name.ts'
import { hostPlatform } from '../../oci/platform.ts'
import { formatReference, parseReference } from '../../oci/reference.ts'
import { type Command, defineCommand, type Invocation } from '../command.ts'
import { openProgress, type Progress } from '../progress/progress.ts'
import { parseExtraHost } from '../tsrun/container-options.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { openWorld, type World } from '../world.ts'
import { parseBuildContexts } from './build-contexts.ts'
import { buildFlags, unsupportedBuildFlags } from './build-flags.ts'
import { parseCall } from './call/call-flag.ts'
import { runCall } from './call/run-call.ts'
import { assertContext, type DockerfileInput, readDockerfile } from './dockerfile-input.ts'
import { parseAssignments } from './key-values.ts'
import { parseOutputs } from './outputs.ts'
import { secretSource } from './secrets.ts'

type BuildInvocation = Invocation<typeof buildFlags>

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
  const { flags, args, environment } = invocation
  const call = parseCall(flags)
  const outputs = parseOutputs(flags, invocation.stdout)
  const context = parseContextName(args[0] ?? '.')
  await assertContext(context, flags.file)
  await using world = await openWorld(environment, flags)
  const { method } = call
  if (method === 'build') return await buildImage(invocation, { world, outputs, context })
  const result = await withRequest(invocation, { world, context }, (request, buildWorld) =>
    runCall({ ...call, method }, request, buildWorld),
  )
  invocation.stdout.write(result.text)
  if (result.failure !== undefined) throw result.failure
  return result.exitCode
}

interface BuildPlace {
  readonly world: World
  readonly context: ContextName
}

async function buildImage(
  invocation: BuildInvocation,
  { outputs, ...place }: BuildPlace & { readonly outputs: ReturnType<typeof parseOutputs> },
): Promise<number> {
  const image = await withRequest(invocation, place, async (request, world) =>
    exportResult(await build(request, world), outputs, world),
  )
  if (image === undefined) return 0
  await writeResultFiles(invocation, image)
  if (invocation.flags.quiet) invocation.stdout.write(`${image.config.digest}\n`)
  return 0
}

/** Shows the progress of `work`; the context is there until it ends. */
async function withRequest<T>(
  invocation: BuildInvocation,
  { world, context: contextName }: BuildPlace,
  work: (request: BuildRequest, world: BuildWorld) => Promise<T>,
): Promise<T> {
  const { flags, stdin } = invocation
  const mode = flags.quiet ? 'quiet' : flags.progress
  using progress = openProgress({ mode, title: 'Building' }, invocation)
  const buildWorld = buildWorldOf(invocation, world, progress)
  const buildArgs = buildArgsOf(invocation)
  const keepGitDir = buildArgs.get('BUILDKIT_CONTEXT_KEEP_GIT_DIR') === '1'
  await using context = await openContextDirectory(contextName, {
    ...buildWorld,
    stdin,
    keepGitDir,
  })
  const dockerfile = await readDockerfile({ contextName, context, file: flags.file, stdin })
  const request = buildRequest(invocation, { dockerfile, context, contextName, buildArgs })
  return await work(request, buildWorld)
}

function buildArgsOf({ flags, environment }: BuildInvocation): Map<string, string> {
  const buildArgs = parseAssignments(flags['build-arg'], environment.lookup)
  if (environment.sourceDateEpoch !== undefined && !buildArgs.has('SOURCE_DATE_EPOCH')) {
    buildArgs.set('SOURCE_DATE_EPOCH', environment.sourceDateEpoch)
  }
  return buildArgs
}

interface RequestInputs {
  readonly dockerfile: DockerfileInput
  readonly context: ContextDirectory
  readonly contextName: ContextName
  readonly buildArgs: ReadonlyMap<string, string>
}

function buildRequest(
  { flags, args }: BuildInvocation,
  { dockerfile, context, contextName, buildArgs }: RequestInputs,
): BuildRequest {
  const { target } = flags
  const { name, text, ignore } = dockerfile
  return {
    dockerfile: { name, text },
    context: context.path,
    ...(contextName.kind === 'directory' ? {} : { contextName: args[0] ?? '' }),
    ignore,
    plan: {
      buildArgs,
      buildPlatform: hostPlatform(process.arch),
      targetPlatform: wantedPlatform(flags.platform),
      isMultiPlatform: false,
      namedContexts: new Set(parseBuildContexts(flags['build-context']).keys()),
      ...(target === undefined ? {} : { target }),
    },
    labels: parseAssignments(flags.label, () => ''),
    rerun: flags['no-cache'] ? 'all' : flags['no-cache-filter'],
  }
}

function buildWorldOf(
  { flags, environment, signal }: BuildInvocation,
  { store, registry }: World,
  { emit }: Progress,
): BuildWorld {
  return {
    store,
    client: registry,
    contexts: parseBuildContexts(flags['build-context']),
    pull: flags.pull ? 'always' : 'missing',
    secrets: secretSource(flags.secret, environment.lookup),
    sandbox: {
      network: flags.network === 'default' ? 'bridge' : flags.network,
      mayUseHostNetwork: flags.allow.includes('network.host') || flags.network === 'host',
      extraHosts: flags['add-host'].map(parseExtraHost),
      shmSize: flags['shm-size'],
      stubs: store.stubs,
    },
    variables: environment.variables,
    parallelism: availableParallelism(),
    emit,
    signal,
    now: () => new Date(),
  }
}

/** `--iidfile` and `--metadata-file`, with the keys of buildx. */
async function writeResultFiles({ flags }: BuildInvocation, image: WrittenImage): Promise<void> {
  const { iidfile, tag } = flags
  const metadataFile = flags['metadata-file']
  if (iidfile !== undefined) await writeFile(iidfile, image.config.digest)
  if (metadataFile === undefined) return
  const metadata = {
    'containerimage.config.digest': image.config.digest,
    'containerimage.descriptor': image.descriptor,
    'containerimage.digest': image.descriptor.digest,
    ...(tag.length === 0
      ? {}
      : { 'image.name': tag.map(name => formatReference(parseReference(name))).join(',') }),
  }
  await writeFile(metadataFile, `${JSON.stringify(metadata, null, 2)}\n`)
}
