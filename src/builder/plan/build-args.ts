/**
 * Arguments that come from outside a stage: the platform's, `--build-arg`, the ARGs before the
 * first FROM, proxies (A01, A02, A07, A08).
 */
import { OciError, printable } from '../../oci/errors.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { atSpan } from '../dockerfile/error.ts'
import { type Escape, expandWord } from '../dockerfile/expand.ts'
import type { ArgInstruction } from '../dockerfile/instruction.ts'

export interface PlanOptions {
  /** `--target`: a stage's name or number; absent: the last stage. */
  readonly target?: string
  /** `--build-arg`; a name without value has been looked up by the caller. */
  readonly buildArgs: ReadonlyMap<string, string>
  readonly buildPlatform: Platform
  readonly targetPlatform: Platform
  /** Whether several platforms are built at once: steps then say which is theirs. */
  readonly isMultiPlatform: boolean
  /** The names of `--build-context`. */
  readonly namedContexts: ReadonlySet<string>
  /** Which ARGs a RUN has in its environment; absent: those that are declared. */
  readonly runArgs?: RunArgs
  /** What `--allow` gives the Dockerfile; absent: nothing. */
  readonly allowed?: ReadonlySet<Entitlement>
}

/** See run-args.ts. */
export type RunArgs = 'declared' | 'named'

export const entitlements = ['network.host', 'security.insecure', 'device'] as const
export type Entitlement = (typeof entitlements)[number]

/** ARGs that no process sees: they only tell the builder what to scan. */
export const silentArgs: ReadonlySet<string> = new Set([
  'BUILDKIT_SBOM_SCAN_CONTEXT',
  'BUILDKIT_SBOM_SCAN_STAGE',
])

/** What `--build-arg` may say of a build that has no such ARG, proxies and platforms aside (A09). */
export const builtinArgs = [
  'SOURCE_DATE_EPOCH',
  'BUILDKIT_SYNTAX',
  'BUILDKIT_DOCKERFILE_CHECK',
  'BUILDKIT_SANDBOX_HOSTNAME',
  'BUILDKIT_CACHE_MOUNT_NS',
  'BUILDKIT_CONTEXT_KEEP_GIT_DIR',
  'BUILDKIT_INLINE_CACHE',
  'BUILDKIT_MULTI_PLATFORM',
] as const

export const proxyNames = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'FTP_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
] as const

/** What ARG declares without ever being defined (A07). `targetStage` is the name of the target. */
export function platformArgs(options: PlanOptions, targetStage: string): Map<string, string> {
  const { buildPlatform, targetPlatform } = options
  const args = new Map([
    ...platformVariables('BUILD', buildPlatform),
    ...platformVariables('TARGET', targetPlatform),
    ['TARGETSTAGE', targetStage === '' ? 'default' : targetStage] as const,
  ])
  for (const name of args.keys()) {
    const given = options.buildArgs.get(name)
    if (given !== undefined) args.set(name, given)
  }
  return args
}

function platformVariables(prefix: string, platform: Platform): (readonly [string, string])[] {
  return [
    [`${prefix}PLATFORM`, formatPlatform(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}OSVERSION`, platform['os.version'] ?? ''],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ''],
  ]
}

/** The variables FROM lines see: each ARG may use those above it. Throws DockerfileError. */
export function globalScope(
  args: readonly ArgInstruction[],
  defaults: ReadonlyMap<string, string>,
  context: { buildArgs: ReadonlyMap<string, string>; file: string; escape: Escape },
): Map<string, string> {
  const scope = new Map(defaults)
  for (const instruction of args) {
    for (const { name, value } of instruction.args) {
      const resolved =
        context.buildArgs.get(name) ??
        (value === undefined
          ? undefined
          : atSpan({ file: context.file, span: instruction.span }, () =>
              expandWord(value, variable => scope.get(variable), { escape: context.escape }),
            ))
      if (resolved !== undefined) scope.set(name, resolved)
    }
  }
  return scope
}

/**
 * `KEY=value` of the proxies among the build arguments, in both spellings, because programs differ
 * in which they read. They come before what ENV says: the proxies are the machine's.
 */
export function proxyEnv(buildArgs: ReadonlyMap<string, string>): string[] {
  const found = new Map<string, string>()
  for (const key of [...buildArgs.keys()].toSorted()) {
    const name = proxyNames.find(proxy => proxy === key.toUpperCase())
    if (name !== undefined) found.set(name, buildArgs.get(key) ?? '')
  }
  return [...found].flatMap(([name, value]) => [
    `${name}=${value}`,
    `${name.toLowerCase()}=${value}`,
  ])
}

/**
 * BUILDKIT_SANDBOX_HOSTNAME: what steps are told that their machine is called (A09). Throws
 * `invalid` for what no machine can be called.
 */
export function sandboxHostname(buildArgs: ReadonlyMap<string, string>): string | undefined {
  const name = buildArgs.get('BUILDKIT_SANDBOX_HOSTNAME')
  if (name === undefined || name === '') return undefined
  if (/^[a-zA-Z0-9][a-zA-Z0-9.-]{0,63}$/.test(name)) return name
  throw new OciError(
    'invalid',
    `invalid BUILDKIT_SANDBOX_HOSTNAME: ${printable(name)}: expected up to 64 letters, digits, dots and hyphens`,
  )
}

/** Names of `--build-arg` that nothing in the Dockerfile declares: probably misspelt (A06). */
export function unusedBuildArgs(
  buildArgs: ReadonlyMap<string, string>,
  declared: ReadonlySet<string>,
): string[] {
  return [...buildArgs.keys()].filter(name => !declared.has(name) && !isPredefined(name))
}

/** Whether ARG declares it without ever being given a value (A07). */
export function isPlatformArg(name: string): boolean {
  return /^(?:BUILD|TARGET)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)$|^TARGETSTAGE$/.test(name)
}

function isPredefined(name: string): boolean {
  return (
    proxyNames.some(proxy => proxy === name.toUpperCase()) ||
    isPlatformArg(name) ||
    builtinArgs.some(builtin => builtin === name)
  )
}
