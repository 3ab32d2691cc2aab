/**
 * The variables of a stage as far as the file itself says them: what `COPY --from=$STAGE` may use
 * (V10). Which stages and images a build needs is known before any base is, so what a base's config
 * defines is unknown here.
 */
import { atSpan, DockerfileError } from '../dockerfile/error.ts'
import { expand } from '../dockerfile/expand.ts'
import type { ArgInstruction, Instruction } from '../dockerfile/instruction.ts'
import type { PlanContext } from './plan-context.ts'
import type { StageInstruction } from './step.ts'

type Variables = Map<string, string>
type Entry = Omit<StageInstruction, 'origins'>

/** Names of stages and images are short; what grows beyond this is none, and is forgotten. */
const maxLength = 4096

/**
 * The bodies of all stages, with what `--from` says filled in. `baseOf` is the stage that a stage
 * builds on. Throws DockerfileError for a variable that the file does not define.
 */
export function withKnownOrigins(
  context: PlanContext,
  bodies: readonly (readonly Entry[])[],
  baseOf: (index: number) => number | undefined,
): Entry[][] {
  if (!bodies.flat().some(({ instruction }) => hasVariable(instruction))) {
    return bodies.map(body => [...body])
  }
  const ends: Variables[] = []
  return bodies.map((body, index) => {
    const base = baseOf(index)
    const variables = new Map(base === undefined ? [] : ends[base])
    ends.push(variables)
    return body.map(entry => withKnownFrom(context, entry, variables))
  })
}

function hasVariable(instruction: Instruction): boolean {
  return instruction.kind === 'copy' && instruction.from?.includes('$') === true
}

/** Also takes in what the instruction defines. */
function withKnownFrom(context: PlanContext, entry: Entry, variables: Variables): Entry {
  const { instruction, span } = entry
  if (instruction.kind === 'arg') defineArgs(context, instruction, variables)
  if (instruction.kind === 'env') {
    const before = new Map(variables)
    for (const { key, value } of instruction.pairs) {
      define(variables, key, known(context, value, before))
    }
  }
  if (instruction.kind !== 'copy' || instruction.from === undefined) return entry
  if (!hasVariable(instruction)) return entry
  const text = instruction.from
  const from = atSpan({ file: context.file, span }, () => knownOrigin(context, text, variables))
  return { ...entry, instruction: { ...instruction, from } }
}

function knownOrigin(context: PlanContext, text: string, variables: Variables): string {
  const from = known(context, text, variables)
  if (from !== undefined && from !== '') return from
  throw new DockerfileError(
    'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround',
    { hint: 'here --from takes variables that an ARG or ENV of this file gives a value' },
  )
}

function defineArgs(context: PlanContext, { args }: ArgInstruction, variables: Variables): void {
  for (const { name, value } of args) {
    const given =
      context.options.buildArgs.get(name) ??
      (value === undefined ? context.globals.get(name) : known(context, value, variables))
    if (given !== undefined || value !== undefined) define(variables, name, given)
  }
}

function define(variables: Variables, name: string, value: string | undefined): void {
  if (value === undefined || value.length > maxLength) variables.delete(name)
  else variables.set(name, value)
}

/** `undefined` when it has a variable that is not known, or is malformed: that is told elsewhere. */
function known(context: PlanContext, word: string, variables: Variables): string | undefined {
  try {
    const { text, unmatched } = expand(word, name => variables.get(name), {
      escape: context.escape,
    })
    return unmatched.size === 0 ? text : undefined
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}
