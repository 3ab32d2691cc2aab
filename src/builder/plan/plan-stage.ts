/**
 * Phase two of planning: a stage, given its base's config → its steps and the config they lead to.
 */
import type { ImageConfig } from '../../oci/image-config.ts'
import type { Platform } from '../../oci/platform.ts'
import { atSpan } from '../dockerfile/error.ts'
import type { Finding } from '../dockerfile/lint-rule.ts'
import type { BuildPlan } from './build-plan.ts'
import { defaultPath, finishDraft } from './image-config.ts'
import { planCopy } from './plan-copy.ts'
import { planMetadata, planWorkdir } from './plan-metadata.ts'
import { planRun } from './plan-run.ts'
import { type StageBase, type StageState, startStage } from './stage-state.ts'
import type { PlannedStage, StageInstruction, StagePlan } from './step.ts'

/**
 * Throws DockerfileError at the instruction that is wrong. A base image with ONBUILD triggers must
 * have gone through `addTriggers` first, since triggers can need stages of their own.
 */
export function planStage(
  plan: BuildPlan,
  stage: StagePlan,
  base: StageBase,
): PlannedStage & { readonly findings: readonly Finding[] } {
  refuseUnplannedTriggers(plan, stage, base)
  const state = startStage(plan, stage, base)
  for (const entry of stage.instructions) {
    atSpan({ file: plan.dockerfile.file, span: entry.span }, () => planInstruction(state, entry))
  }
  const { steps, image, variables, args, hasWorkdir, findings } = state
  return {
    stage,
    steps,
    image: finishDraft(image),
    scope: { variables, args, hasWorkdir },
    findings,
  }
}

/** What `FROM scratch` begins with, and a stage on a plain directory (F03, O07). */
export function scratchImage(platform: Platform): ImageConfig {
  const { variant } = platform
  const version = platform['os.version']
  const features = platform['os.features']
  return {
    architecture: platform.architecture,
    os: platform.os,
    ...(variant === undefined ? {} : { variant }),
    ...(version === undefined ? {} : { 'os.version': version }),
    ...(features === undefined ? {} : { 'os.features': features }),
    config: { Env: [`PATH=${defaultPath}`], WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: [] },
    history: [],
  }
}

function planInstruction(state: StageState, entry: StageInstruction): void {
  const { instruction } = entry
  switch (instruction.kind) {
    case 'run':
      planRun(state, entry, instruction)
      return
    case 'copy':
    case 'add':
      planCopy(state, entry, instruction)
      return
    case 'workdir':
      planWorkdir(state, entry, instruction)
      return
    case 'from':
      throw new Error('a FROM begins a stage, it is not in one')
    default:
      planMetadata(state, entry, instruction)
  }
}

function refuseUnplannedTriggers(plan: BuildPlan, stage: StagePlan, base: StageBase): void {
  if (stage.base.kind === 'stage') return
  const triggers = base.image.config.OnBuild ?? []
  if (triggers.length === 0 || plan.triggers.has(stage.index)) return
  throw new Error(`stage ${stage.index} is planned without its base's triggers: addTriggers first`)
}
