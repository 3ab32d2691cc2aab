/**
 * Instructions → global ARGs and stages. Pure; nothing is expanded yet.
 */
import { DockerfileError } from '../dockerfile/error.ts'
import type { ArgInstruction, FromInstruction, Instruction } from '../dockerfile/instruction.ts'
import type { Dockerfile } from '../dockerfile/parse.ts'

export interface Stage {
  readonly index: number
  readonly from: FromInstruction
  readonly instructions: readonly Instruction[]
}

export interface Stages {
  /** The ARGs before the first FROM. */
  readonly globalArgs: readonly ArgInstruction[]
  readonly stages: readonly Stage[]
}

/** Throws DockerfileError when there is no stage, or something other than ARG before the first. */
export function splitStages(dockerfile: Dockerfile): Stages {
  const globalArgs: ArgInstruction[] = []
  const stages: { index: number; from: FromInstruction; instructions: Instruction[] }[] = []
  for (const instruction of dockerfile.instructions) {
    const current = stages.at(-1)
    if (instruction.kind === 'from') {
      stages.push({ index: stages.length, from: instruction, instructions: [] })
    } else if (current !== undefined) {
      current.instructions.push(instruction)
    } else if (instruction.kind === 'arg') {
      globalArgs.push(instruction)
    } else {
      throw new DockerfileError('no build stage in current context', {
        span: instruction.span,
        file: dockerfile.file,
        hint: 'Begin the Dockerfile with FROM',
      })
    }
  }
  if (stages.length === 0) {
    throw new DockerfileError('dockerfile contains no stages to build', { file: dockerfile.file })
  }
  return { globalArgs, stages }
}
