/** How people name steps: `build`, `build:12`, `:12` — a stage, a line of it, a line of the file. */
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

/** Whether a step stands there. */
export function standsAt(
  { stage, index, lines: [first, last] }: StepSource,
  place: StepPlace,
): boolean {
  const { stage: wanted, line } = place
  const isStage = wanted === undefined || wanted === stage.toLowerCase() || wanted === String(index)
  return isStage && (line === undefined || (first <= line && line <= last))
}
