/** How people name steps: `build`, `build:12`, `:12` — a stage, a line of it, a line of the file. */
import type { Instruction } from './dockerfile/instruction.ts'
import type { Stage } from './plan/split-stages.ts'
import type { StepSource } from './solve/graph.ts'

export interface StepPlace {
  /** In lower case; a number counts the FROM lines from 0. */
  readonly stage?: string
  readonly line?: number
}

/** `undefined` for a text that names no place. */
export function parseStepPlace(text: string): StepPlace | undefined {
  const match = /^([^:\s]*)(?::(\d+))?$/.exec(text)
  if (match === null || text === '') return undefined
  const [, stage = '', line] = match
  return {
    ...(stage === '' ? {} : { stage: stage.toLowerCase() }),
    ...(line === undefined ? {} : { line: Number(line) }),
  }
}

interface NamedStage {
  readonly index: number
  readonly from: { readonly as?: string | undefined }
}

/** By its name, its number, or as a build shows one that has no name. */
function isStageCalled({ index, from }: NamedStage, name: string): boolean {
  return name === String(index) || name === (from.as ?? `stage-${index}`)
}

/**
 * What a place means of a stage: all of it, or the instruction that its line is a part of. A line
 * between two is neither's.
 */
export function instructionsAt(stage: Stage, { stage: name, line }: StepPlace): Instruction[] {
  if (name !== undefined && !isStageCalled(stage, name)) return []
  return [stage.from, ...stage.instructions].filter(
    ({ span }) => line === undefined || (span.startLine <= line && line <= span.endLine),
  )
}

/** Whether a step stands there. */
export function standsAt(
  { stage, index, lines: [first, last] }: StepSource,
  place: StepPlace,
): boolean {
  const { stage: wanted, line } = place
  const as = stage === String(index) ? undefined : stage.toLowerCase()
  const isStage = wanted === undefined || isStageCalled({ index, from: { as } }, wanted)
  return isStage && (line === undefined || (first <= line && line <= last))
}
