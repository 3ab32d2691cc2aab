/**
 * How steps are called: `[build 2/5] RUN make`.
 */
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import type { PlanOptions } from './build-args.ts'
import type { Stage } from './split-stages.ts'
import type { BaseOrigin, StageInstruction, StageLabel, StagePlan } from './step.ts'

interface LabelInput {
  readonly stage: Stage
  readonly base: BaseOrigin
  readonly instructions: readonly StageInstruction[]
  /** The only stage, and nothing is read from elsewhere: it needs no name. */
  readonly isAlone: boolean
  readonly platform: Platform
  readonly options: PlanOptions
}

export function stageLabel(input: LabelInput): StageLabel {
  const { stage, base, instructions, platform } = input
  const pulls = base.kind === 'image' || base.kind === 'named' ? 1 : 0
  const steps = instructions.filter(entry => entry.fromTrigger || isNumbered(entry))
  return {
    name: input.isAlone ? '' : (stage.from.as ?? `stage-${stage.index}`),
    total: pulls + steps.length,
    ...(input.options.isMultiPlatform ? { platform: formatPlatform(platform) } : {}),
  }
}

function isNumbered({ instruction: { kind } }: StageInstruction): boolean {
  return kind === 'add' || kind === 'copy' || kind === 'run' || kind === 'workdir'
}

/** The step that gets the base: `[build 1/5] FROM docker.io/library/alpine:3@sha256:…`. */
export function fromDisplayName(stage: StagePlan, reference: string): string {
  return displayName(stage.label, 1, `FROM ${reference}`)
}

/** The number of the first step after the base. */
export function firstStepNumber(stage: StagePlan): number {
  return stage.base.kind === 'image' || stage.base.kind === 'named' ? 2 : 1
}

/** `text` with its place in front; numbers are as wide as the last one. */
export function displayName(label: StageLabel, number: number, text: string): string {
  if (label.total === 0) return text
  const width = String(label.total).length
  const place = [label.platform, label.name].filter(part => part !== undefined && part !== '')
  return `[${[...place, String(number).padStart(width)].join(' ')}/${label.total}] ${text}`
}
