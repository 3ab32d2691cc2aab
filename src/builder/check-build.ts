/**
 * Build checks of a whole build: during one, where they are warnings, and instead of one, where
 * they are the result.
 */
import { OciError } from '../oci/errors.ts'
import { field } from '../oci/json.ts'
import { type BaseImages, type BaseImageWorld, baseImages } from './base-images.ts'
import type { EmitBuildEvent } from './build-event.ts'
import type { BuildRequest } from './build-request.ts'
import type { CheckOptions } from './dockerfile/directive.ts'
import { checkOptions, type LintWarning, lint, refuseWarnings } from './dockerfile/lint.ts'
import type { Finding } from './dockerfile/lint-rule.ts'
import type { Dockerfile } from './dockerfile/parse.ts'
import { type BuildPlanned, parseRequested, planBuild } from './plan-build.ts'

export interface CheckReport {
  readonly dockerfile: BuildRequest['dockerfile']
  /** By line. */
  readonly warnings: readonly LintWarning[]
  /** Why the build could not be planned to its end; the warnings are those until then. */
  readonly error?: OciError
}

/** Plans every stage, or with a target those it needs, and runs nothing. Throws only for bugs. */
export async function checkBuild(
  request: BuildRequest,
  world: BaseImageWorld,
): Promise<CheckReport> {
  const { dockerfile, plan } = request
  const findings: Finding[] = []
  let warnings = (): LintWarning[] => []
  try {
    const parsed = parseRequested(request)
    const check = checksOf(parsed, [request])
    warnings = () => lint(parsed, findings, check)
    const stages = plan.target === undefined ? 'all' : 'needed'
    await planBuild(parsed, request, { bases: baseImages(world), stages, findings })
    return { dockerfile, warnings: warnings() }
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    return { dockerfile, warnings: warnings(), error }
  }
}

/** What `# check=` says, unless a build argument says otherwise (A09, D05). */
function checksOf(
  dockerfile: Dockerfile,
  [request]: readonly Pick<BuildRequest, 'plan'>[],
): CheckOptions {
  return checkOptions(dockerfile, request?.plan.buildArgs.get('BUILDKIT_DOCKERFILE_CHECK'))
}

/**
 * Plans a build for one or several platforms and tells what the checks say, also when planning
 * fails. Throws DockerfileError, also for warnings where the Dockerfile says `# check=error=true`.
 */
export async function planChecked(
  dockerfile: Dockerfile,
  requests: readonly BuildRequest[],
  { bases, emit }: { readonly bases: BaseImages; readonly emit: EmitBuildEvent },
): Promise<BuildPlanned[]> {
  const check = checksOf(dockerfile, requests)
  const findings: Finding[] = []
  const tell = (): LintWarning[] => {
    const warnings = lint(dockerfile, findings, check)
    const told = warnings.map(toldWarning)
    for (const warning of firstOfEach(told)) emit({ kind: 'warning', ...warning })
    return warnings
  }
  let planned: BuildPlanned[]
  try {
    planned = await Promise.all(
      requests.map(request =>
        planBuild(dockerfile, request, { bases, stages: 'needed', findings }),
      ),
    )
  } catch (error) {
    tell()
    throw error
  }
  refuseWarnings(tell(), check)
  return planned
}

/** Most of what there is to say is the same for every platform. */
function firstOfEach<T extends { readonly message: string }>(told: readonly T[]): T[] {
  const seen = new Set<string>()
  return told.filter(({ message }) => !seen.has(message) && seen.add(message))
}

function toldWarning({ rule, message, description, url, span }: LintWarning) {
  return {
    message: `${rule}: ${message} (line ${span.startLine})`,
    check: {
      ...field('url', url),
      detail: description,
      lines: [span.startLine, span.endLine] as const,
    },
  }
}
