/** A command of the runtime: its flags as a table, and what it does with their values. */
import { usageError } from '../cli-error.ts'
import { type FlagGrammar, type FlagTable, type FlagValues, parseFlags } from '../flags/flags.ts'

/** What a command is given beside its own flags. */
export interface RuntimeContext {
  /** Directory of the states. */
  readonly root: string
  print(text: string): void
  warn(text: string): void
}

export interface RuntimeInvocation<T extends FlagTable> extends RuntimeContext {
  readonly flags: FlagValues<T>
  readonly given: ReadonlySet<string>
  readonly args: readonly string[]
  /** The first of them. */
  readonly id: string
}

export interface RuntimeDefinition<T extends FlagTable> extends FlagGrammar<T> {
  /** How many words it takes; the first one is the container's id, where there is one. */
  readonly arity: { readonly min: number; readonly max: number }
  /** The exit code. Failures throw. */
  run(invocation: RuntimeInvocation<T>): Promise<number>
}

export interface RuntimeCommand {
  readonly flags: FlagTable
  run(args: readonly string[], context: RuntimeContext): Promise<number>
}

export function defineRuntimeCommand<T extends FlagTable>(
  definition: RuntimeDefinition<T>,
): RuntimeCommand {
  const { arity, flags } = definition
  return {
    flags,
    run: async (words, context) => {
      const parsed = parseFlags(definition, words)
      const { length } = parsed.positionals
      if (length < arity.min || length > arity.max) {
        throw usageError(
          length < arity.min ? 'The id of a container is missing' : `${length} words are too many`,
        )
      }
      return await definition.run({
        ...context,
        flags: parsed.values,
        given: parsed.given,
        args: parsed.positionals,
        id: parsed.positionals[0] ?? '',
      })
    },
  }
}
