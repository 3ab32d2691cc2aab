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
import type { ArgInstruction } from '../dockerfile/instruction.ts'
import { type Finding, findingAt } from '../dockerfile/lint-rule.ts'
import type { Dockerfile } from '../dockerfile/parse.ts'
import { globalScope, type PlanOptions, platformArgs } from './build-args.ts'
import { isReference } from './from.ts'
import { splitStages } from './split-stages.ts'
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
export function defaultArgFindings(dockerfile: Dockerfile, options: PlanOptions): Finding[] {
  const { globalArgs, stages } = splitStages(dockerfile)
  const scope = defaultScope(dockerfile, globalArgs, options)
  if (scope === undefined) return []
  return stages.flatMap(({ from }) => {
    const image = defaultImage(from.image, scope, dockerfile)
    if (image === undefined || isReference(image)) return []
    const message = `Default value for ARG ${from.image} results in empty or invalid base image name`
    return [findingAt(from, 'InvalidDefaultArgInFrom', message)]
  })
}

/** `undefined` for what cannot be expanded: it is refused where it stands. */
function defaultImage(
  word: string,
  scope: ReadonlyMap<string, string>,
  { escape: sign }: Dockerfile,
): string | undefined {
  try {
    return expandWord(word, name => scope.get(name), { escape: sign })
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}

/** What FROM lines would see without any build argument; `undefined` when that does not expand. */
function defaultScope(
  dockerfile: Dockerfile,
  globalArgs: readonly ArgInstruction[],
  options: PlanOptions,
): Map<string, string> | undefined {
  const buildArgs = new Map<string, string>()
  const defaults = platformArgs({ ...options, buildArgs }, options.target ?? '')
  try {
    return globalScope(globalArgs, defaults, { ...dockerfile, buildArgs })
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}
