/** What a build was asked for and its Dockerfile has no place for: said, not ignored. */
import { printable } from '../oci/errors.ts'
import { suggest } from '../oci/suggest.ts'
import type { BuildRequest, BuildWorld } from './build-request.ts'
import type { Dockerfile } from './dockerfile/parse.ts'
import { unusedBuildArgs } from './plan/build-args.ts'
import { splitStages } from './plan/split-stages.ts'
import { instructionsAt, parseStepPlace } from './step-place.ts'

/** A misspelt name is the likeliest reason (A06, K10). */
export function warnUnused(
  dockerfile: Dockerfile,
  { plan, rerun }: Pick<BuildRequest, 'plan' | 'rerun'>,
  { emit }: Pick<BuildWorld, 'emit'>,
): void {
  const args = dockerfile.instructions.filter(instruction => instruction.kind === 'arg')
  const declared = new Set(args.flatMap(({ args: names }) => names.map(({ name }) => name)))
  for (const name of unusedBuildArgs(plan.buildArgs, declared)) {
    const meant = suggest(name, declared)
    const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`
    emit({ kind: 'warning', message: `build-arg ${name} is not used by the Dockerfile${hint}` })
  }
  const { stages } = splitStages(dockerfile)
  for (const text of rerun === 'all' ? [] : rerun) {
    const place = parseStepPlace(text)
    if (place !== undefined && stages.some(stage => instructionsAt(stage, place).length > 0))
      continue
    const what = `no-cache-filter "${printable(text)}"`
    emit({ kind: 'warning', message: `${what} is no stage or step of the Dockerfile` })
  }
}
