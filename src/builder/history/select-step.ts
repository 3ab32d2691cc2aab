/** The step of a recorded build that a person means. */
import { OciError, printable } from '../../oci/errors.ts'
import { parseStepPlace, standsAt } from '../step-place.ts'
import type { RecordedBuild, RecordedStep } from './build-record.ts'

/**
 * By `7` or `#7`, its number in the progress; by `stage`, `stage:12` or `:12`, where it stands in
 * the Dockerfile; else by a part of its name. Throws `not-found`, and `invalid` for several.
 */
export function selectSteps(build: RecordedBuild, text: string): RecordedStep[] {
  const number = /^#?(\d+)$/.exec(text)?.[1]
  if (number !== undefined) return found(build, text, step => step.number === Number(number))
  const place = parseStepPlace(text)
  const standing = build.steps.filter(
    ({ source }) => place !== undefined && source !== undefined && standsAt(source, place),
  )
  if (standing.length > 0) return standing
  const part = text.toLowerCase()
  return found(build, text, step => step.name.toLowerCase().includes(part))
}

/** As {@link selectSteps}, one of them. */
export function selectStep(build: RecordedBuild, text: string): RecordedStep {
  const [first, ...others] = selectSteps(build, text)
  if (first === undefined) throw notFound(build, text)
  if (others.length === 0) return first
  const numbers = [first, ...others].map(step => `#${step.number}`).join(', ')
  throw new OciError('invalid', `"${printable(text)}" could be any of ${numbers}`)
}

function found(
  build: RecordedBuild,
  text: string,
  isMeant: (step: RecordedStep) => boolean,
): RecordedStep[] {
  const steps = build.steps.filter(isMeant)
  if (steps.length === 0) throw notFound(build, text)
  return steps
}

function notFound({ id }: RecordedBuild, text: string): OciError {
  return new OciError('not-found', `Build ${id} has no step "${printable(text)}"`, {
    hint: '"tsbuild why" lists its steps; name one by its number, its STAGE:LINE or a part of its text',
  })
}
