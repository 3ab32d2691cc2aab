/** What is to be built, from the command line to the request, with its progress shown. */
import type { BuildRequest, BuildWorld } from '../../builder/build-request.ts'
import { fetchDockerfile, openContextDirectory } from '../../builder/sources/context-directory.ts'
import type { ContextName } from '../../builder/sources/context-name.ts'
import type { Platform } from '../../oci/platform.ts'
import { openProgress } from '../progress/progress.ts'
import type { World } from '../world.ts'
import { readDockerfile } from './dockerfile-input.ts'
import { epochOf } from './reproducible.ts'
import { type BuildInvocation, buildArgsOf, buildRequest, buildWorldOf } from './request.ts'

export interface BuildPlace {
  readonly world: World
  readonly context: ContextName
  readonly platforms: readonly Platform[]
  readonly isReproducible: boolean
}

/** Shows the progress of `work`; the context is there until it ends. */
export async function withRequest<T>(
  invocation: BuildInvocation,
  { world, context: contextName, platforms, isReproducible }: BuildPlace,
  work: (request: BuildRequest, world: BuildWorld) => Promise<T>,
): Promise<T> {
  const { flags, stdin } = invocation
  const mode = flags.quiet ? 'quiet' : flags.progress
  using progress = openProgress({ mode, title: 'Building' }, invocation)
  const buildWorld = buildWorldOf(invocation, world, progress)
  const buildArgs = buildArgsOf(invocation)
  const keepGitDir = buildArgs.get('BUILDKIT_CONTEXT_KEEP_GIT_DIR') === '1'
  const hasEpoch = (buildArgs.get('SOURCE_DATE_EPOCH') ?? '') !== ''
  await using context = await openContextDirectory(contextName, {
    ...buildWorld,
    stdin,
    keepGitDir,
    commitTimes: isReproducible || hasEpoch,
  })
  const dockerfile = await readDockerfile({
    contextName,
    context,
    file: flags.file,
    stdin,
    fetch: url => fetchDockerfile(url, buildWorld),
  })
  if (isReproducible && !buildArgs.has('SOURCE_DATE_EPOCH')) {
    const epoch = await epochOf(context, dockerfile.ignore, buildWorld)
    buildArgs.set('SOURCE_DATE_EPOCH', epoch)
  }
  const request = buildRequest(invocation, {
    dockerfile,
    context,
    contextName,
    buildArgs,
    platforms,
  })
  return await work(request, buildWorld)
}
