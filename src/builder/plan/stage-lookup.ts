/**
 * Stages by name, number and target (F02, F06–F08).
 */
import { DockerfileError } from '../dockerfile/error.ts'
import { goQuote } from '../dockerfile/go-quote.ts'
import { didYouMean } from '../dockerfile/suggest.ts'
import type { StagePlan } from './step.ts'

/** The place of the last stage called `name`, whatever its case. */
export function stageByName(
  names: readonly (string | undefined)[],
  name: string,
): number | undefined {
  const index = names.lastIndexOf(name.toLowerCase())
  return index === -1 ? undefined : index
}

/** A stage number as `--from` takes it; `undefined` when the text is no number. */
export function stageNumber(text: string): number | undefined {
  return /^[+-]?\d+$/.test(text) ? Number(text) : undefined
}

/** Throws DockerfileError, with the name that was probably meant. */
export function targetStage(all: readonly StagePlan[], target: string | undefined): StagePlan {
  const last = all.at(-1)
  if (last === undefined) throw new Error('a Dockerfile without stages was planned')
  if (target === undefined) return last
  const names = all.map(({ name }) => name)
  const found = all[stageByName(names, target) ?? stageNumber(target) ?? -1]
  if (found !== undefined) return found
  const known = names.map((name, index) => name ?? `stage-${index}`)
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
