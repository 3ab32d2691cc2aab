/**
 * Instructions → global ARGs and stages. Pure; nothing is expanded yet.
 */
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

export function splitStages(dockerfile: Dockerfile): Stages {
  const globalArgs: ArgInstruction[] = []
  const stages: { index: number; from: FromInstruction; instructions: Instruction[] }[] = []
  for (const instruction of dockerfile.instructions) {
    if (instruction.kind === 'from') {
      stages.push({ index: stages.length, from: instruction, instructions: [] })
    } else if (stages.length > 0) {
      stages.at(-1)?.instructions.push(instruction)
    } else if (instruction.kind === 'arg') {
      globalArgs.push(instruction)
    }
  }
  return { globalArgs, stages }
}
