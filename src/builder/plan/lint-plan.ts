/**
 * The build checks that need more than a stage's own instructions: the ignore file, the platform of
 * a base that was pulled, the defaults of global ARGs.
 */
import type { ImageConfig } from '../../oci/image-config.ts'
import { formatPlatform, normalPlatform } from '../../oci/platform.ts'
import { DockerfileError } from '../dockerfile/error.ts'
import { expandWord } from '../dockerfile/expand.ts'
import { goQuote } from '../dockerfile/go-quote.ts'
import type { IgnoreMatcher } from '../dockerfile/ignore.ts'
import { type Finding, findingAt } from '../dockerfile/lint-rule.ts'
import { globalScope, platformArgs } from './build-args.ts'
import type { BuildPlan } from './build-plan.ts'
import { isReference } from './from.ts'
import type { CopyStep, PlannedStage, StagePlan } from './step.ts'

/** COPY and ADD of files that .dockerignore leaves out. With exceptions in it, nobody can tell. */
export function ignoredFileFindings(planned: PlannedStage, ignore: IgnoreMatcher): Finding[] {
  if (ignore.hasExceptions) return []
  return planned.steps.flatMap(step =>
    step.kind === 'copy' && step.from.kind === 'context' ? ignoredSources(step, ignore) : [],
  )
}

function ignoredSources(step: CopyStep, ignore: IgnoreMatcher): Finding[] {
  const verb = step.add ? 'Add' : 'Copy'
  return step.sources.flatMap(source => {
    if (source.kind !== 'path' || !isIgnored(source.path, ignore)) return []
    const message = `Attempting to ${verb} file ${goQuote(source.path.slice(1) || '.')} that is excluded by .dockerignore`
    return [{ rule: 'CopyIgnoredFile' as const, message, span: step.span, comments: step.comments }]
  })
}

/** The root itself cannot be left out: only patterns that leave nothing in it count. */
function isIgnored(path: string, ignore: IgnoreMatcher): boolean {
  if (path === '/') return ignore.patterns.some(text => ['*', '**', '**/*'].includes(text))
  return ignore.match(path.slice(1))
}

/** A base that was pulled for another platform than the stage asked for (F10). */
export function platformFinding(stage: StagePlan, config: ImageConfig): Finding[] {
  const expected = formatPlatform(stage.platform)
  const { os, architecture } = config
  if (os === stage.platform.os && architecture === stage.platform.architecture) return []
  const actual = formatPlatform(normalPlatform(config))
  const message = `Base image ${stage.from.image} was pulled with platform ${goQuote(actual)}, expected ${goQuote(expected)} for current build`
  return [findingAt(stage.from, 'InvalidBaseImagePlatform', message)]
}

/** FROM lines that name no image unless a build argument is given. */
export function defaultArgFindings(plan: BuildPlan): Finding[] {
  const scope = defaultScope(plan)
  if (scope === undefined) return []
  const options = { escape: plan.dockerfile.escape }
  return plan.all.flatMap(({ from }) => {
    if (isReference(expandWord(from.image, name => scope.get(name), options))) return []
    const message = `Default value for ARG ${from.image} results in empty or invalid base image name`
    return [findingAt(from, 'InvalidDefaultArgInFrom', message)]
  })
}

/** What FROM lines would see without any build argument; `undefined` when that does not expand. */
function defaultScope(plan: BuildPlan): Map<string, string> | undefined {
  const { dockerfile, options, globalArgs } = plan
  const buildArgs = new Map<string, string>()
  const defaults = platformArgs({ ...options, buildArgs }, options.target ?? '')
  try {
    return globalScope(globalArgs, defaults, { ...dockerfile, buildArgs })
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}
