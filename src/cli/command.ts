/**
 * Command: a flag table, what the help says about it, and a function from typed values to an exit
 * code. `main.ts` finds and runs commands; a command never exits the process by itself.
 */
import type { Readable, Writable } from 'node:stream'
import { usageError } from './cli-error.ts'
import type { Environment } from './environment.ts'
import {
  type Flag,
  type FlagGrammar,
  type FlagTable,
  type FlagValues,
  parseFlags,
} from './flags/flags.ts'
import type { Interrupts } from './interrupts.ts'
import type { Terminal } from './terminal.ts'

/** Everything outside the program that a command may use. */
export interface CliContext {
  readonly environment: Environment
  /** Aborts when the user asks to stop. */
  readonly signal: AbortSignal
  readonly interrupts: Interrupts
  /** Made when it is asked for: few commands read it, and it takes a short one a fiftieth of its time. */
  stdin(): Readable & { readonly isTTY?: boolean }
  /** Data: ids, tables, JSON, archives. */
  readonly stdout: Writable & { readonly isTTY?: boolean }
  /** Everything for people: progress, warnings, errors. */
  readonly stderr: Terminal
}

export interface Invocation<T extends FlagTable> extends CliContext {
  readonly flags: FlagValues<T>
  /** Flags that were given, as opposed to left at their defaults. */
  readonly given: ReadonlySet<string>
  readonly args: readonly string[]
}

export interface CommandHelp {
  /** Without the program's name: `build`. */
  readonly name: string
  /** What follows the name: `[FLAGS] PATH | URL | -`. */
  readonly usage: string
  /** One line, no final period. */
  readonly summary: string
  /**
   * Command lines, most wanted first. One that starts with the command's name gets the program's
   * before it; elsewhere `{program}` stands for that.
   */
  readonly examples: readonly string[]
  /** Goes before the message of a failure that is no usage error: `failed to build: `. */
  readonly errorPrefix?: string
  /** The exit code of a failure that has none of its own; 1, or 100 for a bug, unless given. */
  exitCodeOf?(error: unknown): number
}

export interface CommandDefinition<T extends FlagTable> extends CommandHelp, FlagGrammar<T> {
  /** How many positionals it takes; any number unless given. */
  readonly arity?: { readonly min: number; readonly max?: number }
  /** The exit code. Failures throw. */
  run(invocation: Invocation<T>): Promise<number>
}

export interface Command extends CommandHelp {
  readonly flags: FlagTable
  /**
   * The exit code, or `help` when the line asks for it. Throws a usage error before anything is
   * done, and what `run` throws.
   */
  invoke(args: readonly string[], context: CliContext): Promise<number | 'help'>
}

/** The command as `main.ts` sees it, its flag types checked here and forgotten. */
export function defineCommand<T extends FlagTable>(definition: CommandDefinition<T>): Command {
  const flags = { ...definition.flags, help: helpFlag(definition.flags) }
  return {
    ...definition,
    flags,
    invoke: async (args, context) => {
      const parsed = parseFlags({ ...definition, flags }, args, context.environment.lookup)
      if (parsed.given.has('help')) return 'help'
      checkArity(definition, parsed.positionals)
      return definition.run({
        ...context,
        flags: parsed.values,
        given: parsed.given,
        args: parsed.positionals,
      })
    },
  }
}

/** `-h`, unless the command means something else by it: docker's hostname. */
function helpFlag(own: FlagTable): Extract<Flag, { kind: 'boolean' }> {
  const isTaken = Object.values(own).some(flag => flag.short === 'h')
  return {
    kind: 'boolean',
    help: 'Print this help',
    ...(isTaken ? {} : { short: 'h' }),
    hidden: true,
  }
}

function checkArity(
  { name, arity = { min: 0 } }: Pick<CommandDefinition<FlagTable>, 'name' | 'arity'>,
  { length }: readonly string[],
): void {
  const { min, max } = arity
  if (length >= min && (max === undefined || length <= max)) return
  const count = (n: number) => `${n === 0 ? 'no' : n} argument${n === 1 ? '' : 's'}`
  const wanted =
    length < min && min !== max
      ? `at least ${count(min)}`
      : min === max
        ? count(min)
        : `at most ${count(max ?? 0)}`
  throw usageError(`"${name}" takes ${wanted}, got ${length}`)
}
