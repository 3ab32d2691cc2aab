/**
 * Phase one of planning: which stages there are, which the target needs, and from what.
 *
 * Only FROM lines can be expanded here, with the global ARGs; the rest of a stage needs the ENV of
 * its resolved base, which is phase two, `planStage`.
 */
import type { Platform } from '../../oci/platform.ts'
import type { ArgInstruction } from '../dockerfile/instruction.ts'
import type { Finding } from '../dockerfile/lint-rule.ts'
import { type Dockerfile, parseTrigger } from '../dockerfile/parse.ts'
import { globalScope, type PlanOptions, platformArgs } from './build-args.ts'
import { resolveFrom } from './from.ts'
import { withKnownOrigins } from './known-variables.ts'
import { instructionOrigins, refuseCircularStages, refuseLaterStages } from './origins.ts'
import type { PlanContext } from './plan-context.ts'
import { type Stage, splitStages } from './split-stages.ts'
import { stageLabel } from './stage-label.ts'
import { stageNames, targetStage } from './stage-lookup.ts'
import type { BaseOrigin, Origin, StageInstruction, StagePlan } from './step.ts'

export interface BuildPlan {
  readonly dockerfile: Dockerfile
  readonly options: PlanOptions
  readonly globalArgs: readonly ArgInstruction[]
  /** What FROM lines see: platform arguments, global ARGs, `--build-arg`. */
  readonly globals: ReadonlyMap<string, string>
  /** Every stage of the file, reachable or not; a name's last bearer wins (F06). */
  readonly all: readonly StagePlan[]
  /** What the target needs, each after what it needs itself; the target is last (F09). */
  readonly stages: readonly StagePlan[]
  readonly target: StagePlan
  readonly findings: readonly Finding[]
  /** ONBUILD triggers of external base images, by stage: see {@link addTriggers}. */
  readonly triggers: ReadonlyMap<number, readonly string[]>
}

/** Throws DockerfileError. Reads nothing: images are names here. */
export function planStages(
  dockerfile: Dockerfile,
  options: PlanOptions,
  triggers: ReadonlyMap<number, readonly string[]> = new Map(),
): BuildPlan {
  const { globalArgs, stages } = splitStages(dockerfile)
  const { file, escape: escapeChar } = dockerfile
  const targetName = options.target ?? stages.at(-1)?.from.as ?? ''
  const context: PlanContext = {
    dockerfile,
    options,
    globals: globalScope(globalArgs, platformArgs(options, targetName), {
      buildArgs: options.buildArgs,
      file,
      escape: escapeChar,
    }),
    findings: [],
    file,
    escape: escapeChar,
  }
  const bases = resolveBases(context, stages)
  const names = bases.map(({ name }) => name)
  const targetIndex = targetStage(names, options.target)
  const all = stagePlans(context, { stages, bases, triggers })
  refuseCircularStages(all, file)
  const target = all[targetIndex] as StagePlan
  const reachable = reachableStages(all, target)
  refuseLaterStages(reachable, file)
  const { globals, findings } = context
  return {
    dockerfile,
    options,
    globalArgs,
    globals,
    all,
    stages: reachable,
    target,
    findings,
    triggers,
  }
}

/**
 * The plan once more, now that base images turned out to carry ONBUILD triggers, by stage: they may
 * read from stages that nothing else needs. Throws DockerfileError.
 */
export function addTriggers(plan: BuildPlan, found: BuildPlan['triggers']): BuildPlan {
  return planStages(plan.dockerfile, plan.options, new Map([...plan.triggers, ...found]))
}

interface StageInputs {
  readonly stages: readonly Stage[]
  readonly bases: readonly ResolvedBase[]
  readonly triggers: ReadonlyMap<number, readonly string[]>
}

function stagePlans(context: PlanContext, { stages, bases, triggers }: StageInputs): StagePlan[] {
  const bodies = stages.map((stage, index) =>
    bases[index]?.isReplaced === true ? [] : bodyOf(context, stage, triggersOf(index)),
  )

  function triggersOf(index: number): readonly string[] {
    const base = bases[index]?.base
    if (base?.kind !== 'stage') return triggers.get(index) ?? []
    const inherited = stages[base.stage]?.instructions ?? []
    return inherited.flatMap(instruction =>
      instruction.kind === 'onbuild' ? [instruction.trigger] : [],
    )
  }

  const names = stageNames(bases.map(({ name }) => name))
  const count = stages.length
  const baseOf = (index: number) => {
    const base = bases[index]?.base
    return base?.kind === 'stage' ? base.stage : undefined
  }
  const withOrigins = withKnownOrigins(context, bodies, baseOf).map((body, index) =>
    body.map(entry => ({
      ...entry,
      origins: instructionOrigins(context, entry, { index, names, count }),
    })),
  )
  const isAlone =
    stages.length === 1 && withOrigins.flat().every(({ origins }) => origins.length === 0)
  return stages.map((stage, index) => {
    const { base, platform, name } = bases[index] as ResolvedBase
    const instructions = withOrigins[index] ?? []
    return {
      index,
      ...(name === undefined ? {} : { name }),
      base,
      platform,
      from: stage.from,
      instructions,
      needs: uniqueOrigins([base, ...instructions.flatMap(({ origins }) => origins)]),
      span: stage.from.span,
      label: stageLabel({ stage, base, instructions, isAlone, platform, options: context.options }),
    }
  })
}

interface ResolvedBase {
  readonly base: BaseOrigin
  readonly platform: StagePlan['platform']
  readonly name: string | undefined
  /** A named context stands in for the stage: its instructions do not run (F11). */
  readonly isReplaced: boolean
}

/** In order: a FROM sees the stages above it only. */
function resolveBases(context: PlanContext, stages: readonly Stage[]): ResolvedBase[] {
  const names = new Map<string, number>()
  const platforms: Platform[] = []
  return stages.map(({ from, index }) => {
    const resolved = resolveFrom(context, from, { names, platforms })
    platforms.push(resolved.platform)
    if (from.as !== undefined) names.set(from.as, index)
    return { ...resolved, name: from.as }
  })
}

function bodyOf(
  context: PlanContext,
  stage: Stage,
  triggers: readonly string[],
): Omit<StageInstruction, 'origins'>[] {
  const { span } = stage.from
  const fired = triggers.map(trigger => ({
    instruction: parseTrigger(trigger, { file: context.file, span }),
    span,
    fromTrigger: true,
  }))
  const own = stage.instructions.map(instruction => ({
    instruction,
    span: instruction.span,
    fromTrigger: false,
  }))
  return [...fired, ...own]
}

function uniqueOrigins(origins: readonly Origin[]): Origin[] {
  const byText = new Map(origins.map(origin => [JSON.stringify(origin), origin]))
  return [...byText.values()].filter(({ kind }) => kind !== 'context' && kind !== 'scratch')
}

/** `target` and all it needs, dependencies first. */
function reachableStages(all: readonly StagePlan[], target: StagePlan): StagePlan[] {
  const reached = new Set<StagePlan>()
  const pending = [target]
  for (let stage = pending.pop(); stage !== undefined; stage = pending.pop()) {
    if (reached.has(stage)) continue
    reached.add(stage)
    for (const need of stage.needs) {
      const needed = need.kind === 'stage' ? all[need.stage] : undefined
      if (needed !== undefined) pending.push(needed)
    }
  }
  return all.filter(stage => reached.has(stage))
}
