/**
 * Stages by name, number and target (F02, F06–F08).
 */
import { DockerfileError } from '../dockerfile/error.ts'
import { goQuote } from '../dockerfile/go-quote.ts'
import { didYouMean } from '../dockerfile/suggest.ts'
import type { StagePlan } from './step.ts'

/** Places of stages by name; of several with one name, the last (F06). */
export type StageNames = ReadonlyMap<string, number>

export function stageNames(names: readonly (string | undefined)[]): StageNames {
  return new Map(
    names.flatMap((name, index) => (name === undefined ? [] : [[name, index] as const])),
  )
}

/** The place of the stage called `name`, whatever its case (F02). */
export function stageByName(names: StageNames, name: string): number | undefined {
  return names.get(name.toLowerCase())
}

/** A stage number as `--from` takes it; `undefined` when the text is no number. */
export function stageNumber(text: string): number | undefined {
  return /^[+-]?\d+$/.test(text) ? Number(text) : undefined
}

/** The place of the target; the last stage by default. Throws DockerfileError. */
export function targetStage(
  names: readonly (string | undefined)[],
  target: string | undefined,
): number {
  if (target === undefined) return names.length - 1
  const index = stageByName(stageNames(names), target) ?? stageNumber(target) ?? -1
  if (index >= 0 && index < names.length) return index
  const known = names.map((name, place) => name ?? `stage-${place}`)
  throw new DockerfileError(
    `target stage ${goQuote(target)} could not be found${didYouMean(target, known)}`,
    { code: 'not-found' },
  )
}

/** Images that misspelt names are often meant to be. */
const commonImages = ['alpine', 'busybox', 'centos', 'debian', 'golang', 'ubuntu', 'fedora']

/** ` (did you mean X?)` for an image that was not found: a stage or a well-known image. */
export function suggestImage(all: readonly StagePlan[], name: string): string {
  const stages = all.flatMap(stage => stage.name ?? [])
  return didYouMean(name, [
    ...stages,
    ...commonImages,
    ...commonImages.map(image => `${image}:latest`),
  ])
}
