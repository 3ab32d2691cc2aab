/** A build's request and world, from its flags. */
import { availableParallelism } from 'node:os'
import type { BuildRequest, BuildWorld } from '../../builder/build-request.ts'
import type { ContextDirectory } from '../../builder/sources/context-directory.ts'
import type { ContextName } from '../../builder/sources/context-name.ts'
import { parseStepPlace } from '../../builder/step-place.ts'
import type { SandboxSpec } from '../../layerfs/sandbox/spec.ts'
import { field } from '../../oci/json.ts'
import { formatPlatform, hostPlatform, type Platform } from '../../oci/platform.ts'
import { usageError } from '../cli-error.ts'
import type { Invocation } from '../command.ts'
import { isolationRuntime } from '../isolation.ts'
import type { Progress } from '../progress/progress.ts'
import { parseExtraHost } from '../tsrun/options/container-options.ts'
import { limitOptions, parseUlimit } from '../tsrun/options/resource-options.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import type { World } from '../world.ts'
import { parseBuildContexts } from './build-contexts.ts'
import type { BuildFlags, buildFlags } from './build-flags.ts'
import { parseCacheFrom } from './cache/cache-from.ts'
import type { DockerfileInput } from './dockerfile-input.ts'
import { parseEntitlements } from './entitlement-flags.ts'
import { parseAssignments } from './key-values.ts'
import { secretSource } from './secrets.ts'
import { shellOpener } from './shell/open-shell.ts'
import { parseSshAgents } from './ssh-agents.ts'

export type BuildInvocation = Invocation<typeof buildFlags>

/** `--platform`, each once, in the order given. Throws `invalid`. */
export function parsePlatforms(text: string | undefined): Platform[] {
  const names = text === undefined ? ['local'] : text.split(',')
  const platforms = names.map(name => wantedPlatform(name === 'local' ? undefined : name.trim()))
  return [...new Map(platforms.map(one => [formatPlatform(one), one])).values()]
}

export function buildArgsOf({ flags, environment }: BuildInvocation): Map<string, string> {
  const buildArgs = parseAssignments(flags['build-arg'], environment.lookup)
  if (environment.sourceDateEpoch !== undefined && !buildArgs.has('SOURCE_DATE_EPOCH')) {
    buildArgs.set('SOURCE_DATE_EPOCH', environment.sourceDateEpoch)
  }
  return buildArgs
}

export interface RequestInputs {
  readonly dockerfile: DockerfileInput
  readonly context: ContextDirectory
  readonly contextName: ContextName
  readonly buildArgs: ReadonlyMap<string, string>
  readonly platforms: readonly Platform[]
}

export function buildRequest(
  { flags, args }: BuildInvocation,
  { dockerfile, context, contextName, buildArgs, platforms }: RequestInputs,
): BuildRequest {
  const { target } = flags
  const { ignore, ...file } = dockerfile
  const host = hostPlatform(process.arch)
  return {
    dockerfile: file,
    context: context.path,
    ...(contextName.kind === 'directory' ? {} : { contextName: args[0] ?? '' }),
    ...field('contextTime', context.time),
    ignore,
    plan: {
      buildArgs,
      buildPlatform: host,
      targetPlatform: platforms[0] ?? host,
      isMultiPlatform: false,
      namedContexts: new Set(parseBuildContexts(flags['build-context']).keys()),
      allowed: parseEntitlements(flags),
      runArgs: flags['run-args'],
      ...(target === undefined ? {} : { target }),
    },
    labels: parseAssignments(flags.label, () => ''),
    rerun: flags['no-cache'] ? 'all' : parseFilters(flags['no-cache-filter']),
  }
}

/** Throws a usage error. */
function limitsOf(flags: BuildFlags): SandboxSpec['limits'] {
  return limitOptions(flags)
}

/** Names of stages may be separated by commas, as buildx has it. Throws a usage error. */
function parseFilters(values: readonly string[]): string[] {
  const texts = values.flatMap(value => value.split(','))
  for (const text of texts) {
    if (parseStepPlace(text) === undefined) {
      throw usageError(
        `Cannot use flag --no-cache-filter "${text}": expected STAGE, STAGE:LINE or :LINE`,
      )
    }
  }
  return texts
}

export function buildWorldOf(
  invocation: BuildInvocation,
  { store, registry }: World,
  progress: Progress,
): BuildWorld {
  const { flags, environment, signal } = invocation
  const { emit } = progress
  const onError = flags['on-error'] === 'shell'
  return {
    shell: { open: shellOpener(invocation, progress), onError },
    store,
    client: registry,
    contexts: parseBuildContexts(flags['build-context']),
    cacheFrom: parseCacheFrom(flags['cache-from'], {
      client: registry,
      lookup: environment.lookup,
      offline: flags.offline,
    }),
    pull: flags.pull,
    offline: flags.offline,
    secrets: secretSource(flags.secret, environment.lookup),
    sandbox: {
      network: flags.network === 'default' ? 'bridge' : flags.network,
      agents: parseSshAgents(flags.ssh, environment.lookup),
      extraHosts: flags['add-host'].map(parseExtraHost),
      shmSize: flags['shm-size'],
      resourceLimits: flags.ulimit.map(parseUlimit),
      limits: limitsOf(flags),
      stubs: store.stubs,
      ...isolationRuntime(flags, environment),
    },
    variables: environment.variables,
    parallelism: availableParallelism(),
    emit,
    signal,
    now: () => new Date(),
  }
}
