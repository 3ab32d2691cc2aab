/**
 * What a stage has become after the instructions so far, and how its words are expanded.
 */
import type { ImageConfig } from '../../oci/image-config.ts'
import { formatPlatform } from '../../oci/platform.ts'
import { DockerfileError } from '../dockerfile/error.ts'
import { type ExpandOptions, type Expansion, expand } from '../dockerfile/expand.ts'
import type { Instruction } from '../dockerfile/instruction.ts'
import { type Finding, findingAt, type RuleName } from '../dockerfile/lint-rule.ts'
import { nearest } from '../dockerfile/suggest.ts'
import { silentArgs } from './build-args.ts'
import type { BuildPlan } from './build-plan.ts'
import { draftOf, envName, envValue, type ImageDraft } from './image-config.ts'
import { displayName, firstStepNumber } from './stage-label.ts'
import type { Scope, StageInstruction, StagePlan, Step, StepBase } from './step.ts'

/** What phase two starts from: the base as it turned out to be. */
export interface StageBase {
  /** The base's config; of a stage, `PlannedStage.image`; of nothing, `scratchImage`. */
  readonly image: ImageConfig
  /** Of a stage: the variables it ended with (A04). */
  readonly scope?: Scope
  /** Takes what build checks say of the stage, also when planning it fails; absent: a list of its own. */
  readonly findings?: Finding[]
}

type Args = Scope['args'][number]

/** Owned by one run of `planStage`. */
export interface StageState {
  readonly plan: BuildPlan
  readonly stage: StagePlan
  readonly steps: Step[]
  readonly findings: Finding[]
  readonly image: ImageDraft
  readonly variables: Map<string, string>
  /** The variables as RUN takes them, until one changes: thousands of steps share one list. */
  env: readonly string[] | undefined
  readonly args: Args[]
  hasWorkdir: boolean
  /** CMD, ENTRYPOINT and HEALTHCHECK of this stage, the last of each. */
  readonly lastOf: Map<'cmd' | 'entrypoint' | 'healthcheck', Instruction>
  /** The number of the next step that is shown with one. */
  nextNumber: number
  /** Characters that variables have come to so far. */
  spent: number
}

/** Values feed on values, and every RUN repeats its ARGs: what a stage may come to, in characters. */
const maxSpent = 1 << 26

export function startStage(plan: BuildPlan, stage: StagePlan, base: StageBase): StageState {
  const image = draftOf(base.image)
  const env = image.env.map(entry => [envName(entry), envValue(entry)] as const)
  return {
    plan,
    stage,
    steps: [],
    findings: base.findings ?? [],
    image,
    variables: new Map([...env, ...(base.scope?.variables ?? [])]),
    env: undefined,
    args: [...(base.scope?.args ?? [])],
    hasWorkdir: base.scope?.hasWorkdir ?? false,
    lastOf: new Map(),
    nextNumber: firstStepNumber(stage),
    spent: 0,
  }
}

export function setVariable(state: StageState, name: string, value: string): void {
  state.variables.set(name, value)
  state.env = undefined
}

/** `KEY=value` of every variable. */
export function envOf(state: StageState): readonly string[] {
  state.env ??= [...state.variables].map(([name, value]) => `${name}=${value}`)
  return state.env
}

/** The word with the stage's variables in it; unset ones are reported. Throws DockerfileError. */
export function expandIn(state: StageState, instruction: Instruction, word: string): string {
  return expandReporting(state, instruction, { word }).text
}

/** As {@link expandIn}, with everything the expansion says. */
export function expandReporting(
  state: StageState,
  instruction: Instruction,
  request: { readonly word: string; readonly options?: ExpandOptions },
): Expansion {
  const options = request.options ?? { escape: state.plan.dockerfile.escape }
  const expansion = expand(request.word, name => state.variables.get(name), options)
  for (const name of expansion.missing) reportUndefined(state, instruction, name)
  spend(state, expansion.text.length)
  return expansion
}

/** Throws DockerfileError when a stage has grown beyond all use. */
export function spend(state: StageState, characters: number): void {
  state.spent += characters
  if (state.spent <= maxSpent) return
  throw new DockerfileError(`stage expands to more than ${maxSpent} characters`, {
    code: 'too-large',
  })
}

function reportUndefined(state: StageState, instruction: Instruction, name: string): void {
  if (silentArgs.has(name) || state.args.some(arg => arg.name === name)) return
  const match = nearest(name, state.variables.keys())
  const suggestion = match === undefined ? '' : ` (did you mean $${match}?)`
  report(state, instruction, {
    rule: 'UndefinedVar',
    message: `Usage of undefined variable '$${name}'${suggestion}`,
  })
}

export function report(
  state: StageState,
  instruction: Instruction,
  { rule, message }: { readonly rule: RuleName; readonly message: string },
): void {
  state.findings.push(findingAt(instruction, rule, message))
}

/** The text of an instruction as shown: its word in capitals, its variables filled in. */
export function shownText(state: StageState, code: string, options?: ExpandOptions): string {
  const lookup = (name: string) => state.variables.get(name)
  let text = code
  try {
    text = expand(code, lookup, options ?? { escape: state.plan.dockerfile.escape }).text
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
  }
  return text.replace(/^[^ ]+/, word => word.toUpperCase())
}

export function ofInstruction(
  { span, fromTrigger, instruction }: StageInstruction,
  told: Pick<StepBase, 'displayName' | 'historyText'>,
): StepBase {
  return { span, ...told, fromTrigger, comments: instruction.comments }
}

/** `[build 2/5] …`; takes the next number. */
export function numberedName(state: StageState, entry: StageInstruction, text: string): string {
  const number = state.nextNumber
  spend(state, text.length)
  state.nextNumber++
  const { label } = state.stage
  const cross = label.platform === undefined ? label : { ...label, platform: crossPlatform(state) }
  return displayName(cross, number, `${entry.fromTrigger ? 'ONBUILD ' : ''}${text}`)
}

/** `linux/amd64->arm64`: built on one platform for another, as far as its ARGs tell. */
function crossPlatform({ stage, variables }: StageState): string {
  const own = formatPlatform(stage.platform)
  const [os, architecture] = (variables.get('TARGETPLATFORM') ?? '').split('/')
  const target = {
    os: os || (variables.get('TARGETOS') ?? stage.platform.os),
    architecture: architecture ?? variables.get('TARGETARCH') ?? stage.platform.architecture,
  }
  if (target.os !== stage.platform.os) return `${own}->${target.os}/${target.architecture}`
  return target.architecture === stage.platform.architecture
    ? own
    : `${own}->${target.architecture}`
}
