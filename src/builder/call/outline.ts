/** `--call=outline`: what a target can be given. */
import { field } from '../../oci/json.ts'
import { expand } from '../dockerfile/expand.ts'
import type { ArgInstruction } from '../dockerfile/instruction.ts'
import type { Span } from '../dockerfile/span.ts'
import { isPlatformArg } from '../plan/build-args.ts'
import type { BuildPlan } from '../plan/build-plan.ts'
import type { PlannedStage, RunMount } from '../plan/step.ts'
import type { BuildPlanned } from '../plan-build.ts'
import { describingComment } from './describing-comment.ts'

export interface Outline {
  /** Of the target. */
  readonly name?: string
  readonly description?: string
  /** By line. */
  readonly args: readonly OutlineArg[]
  readonly secrets: readonly OutlineMount[]
  readonly ssh: readonly OutlineMount[]
}

export interface OutlineArg {
  readonly name: string
  /** As it stands for this build; absent: not set. */
  readonly value?: string
  readonly description?: string
  readonly span: Span
}

export interface OutlineMount {
  readonly name: string
  readonly required: boolean
  readonly span: Span
}

/** `stages`: those that the target needs. */
export function outlineOf({ plan, stages }: Pick<BuildPlanned, 'plan' | 'stages'>): Outline {
  const { name, from } = plan.target
  return {
    ...field('name', name),
    ...field('description', describingComment(from.comments, name ?? '')),
    args: firstOfEach([...stages.toReversed().flatMap(stageArgs(plan)), ...fromArgs(plan, stages)]),
    secrets: firstOfEach(stages.flatMap(stage => mountsOf(stage, 'secret'))),
    ssh: firstOfEach(stages.flatMap(stage => mountsOf(stage, 'ssh'))),
  }
}

function firstOfEach<T extends { readonly name: string; readonly span: Span }>(all: readonly T[]) {
  const firsts = new Map<string, T>()
  for (const one of all) if (!firsts.has(one.name)) firsts.set(one.name, one)
  return [...firsts.values()].toSorted((a, b) => a.span.startLine - b.span.startLine)
}

/** An ARG that only takes over a global one is that one; one of the platform's is no question. */
function stageArgs(plan: BuildPlan): (planned: PlannedStage) => OutlineArg[] {
  const globals = new Map(plan.globalArgs.flatMap(arg => arg.args.map(one => [one.name, arg])))
  return ({ stage, scope }) => {
    const values = new Map(scope.args.map(({ name, value }) => [name, value]))
    return stage.instructions.flatMap(({ instruction }) => {
      if (instruction.kind !== 'arg') return []
      return instruction.args.flatMap(({ name, value }) => {
        const above = value === undefined ? globals.get(name) : undefined
        const isAutomatic = value === undefined && isLeftToPlatform(plan, name)
        if (isAutomatic && above === undefined) return []
        return [argOf(above ?? instruction, name, isAutomatic ? undefined : values.get(name))]
      })
    })
  }
}

/** Whether the platform alone gives it a value. */
function isLeftToPlatform({ globalArgs, options }: BuildPlan, name: string): boolean {
  const defaults = globalArgs.flatMap(({ args }) => args.filter(one => one.name === name))
  const isDefined = defaults.some(({ value }) => value !== undefined)
  return isPlatformArg(name) && !isDefined && !options.buildArgs.has(name)
}

/** Global ARGs that the FROM lines use, and those that their defaults use. */
function fromArgs(plan: BuildPlan, stages: readonly PlannedStage[]): OutlineArg[] {
  const words = stages.flatMap(({ stage: { from } }) => [from.image, from.platform ?? ''])
  const definitions = definitionsOf(plan)
  const found = new Map<string, OutlineArg>()
  const pending = words.flatMap(word => variablesIn(plan, word))
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (found.has(name)) continue
    for (const { instruction, value } of definitions.get(name) ?? []) {
      const given = isLeftToPlatform(plan, name) ? undefined : plan.globals.get(name)
      found.set(name, argOf(instruction, name, given))
      pending.push(...variablesIn(plan, value))
    }
  }
  return [...found.values()]
}

/** Where each global ARG is defined, in the file's order. */
function definitionsOf({ globalArgs }: BuildPlan) {
  const definitions = new Map<string, { instruction: ArgInstruction; value: string }[]>()
  for (const instruction of globalArgs) {
    for (const { name, value = '' } of instruction.args) {
      const before = definitions.get(name) ?? []
      before.push({ instruction, value })
      definitions.set(name, before)
    }
  }
  return definitions
}

function variablesIn({ globals, dockerfile: { escape: sign } }: BuildPlan, word: string): string[] {
  return [...expand(word, name => globals.get(name), { escape: sign }).matched]
}

function argOf(
  { comments, span }: ArgInstruction,
  name: string,
  value: string | undefined,
): OutlineArg {
  const description = describingComment(comments, name)
  return { name, ...field('value', value), ...field('description', description), span }
}

function mountsOf({ steps }: PlannedStage, kind: 'secret' | 'ssh'): OutlineMount[] {
  const isAsked = (mount: RunMount) => mount.kind === kind
  return steps.flatMap(step => {
    if (step.kind !== 'run') return []
    return step.mounts
      .filter(isAsked)
      .flatMap(mount =>
        mount.kind === 'secret' || mount.kind === 'ssh'
          ? [{ name: mount.id, required: mount.required, span: step.span }]
          : [],
      )
  })
}
