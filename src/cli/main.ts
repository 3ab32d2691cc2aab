/**
 * Runs one command line of a program: finds the command, loads it, runs it, reports how it failed.
 *
 * Exit codes (`cli-error.ts`): what the command returns; 125 for a wrong command line; 1 for a
 * failure; 100 for a bug; 130 and 143 when stopped. Only this file ends the process.
 */
import { useNativeFolder } from '../layerfs/native/native-programs.ts'
import { suggest } from '../oci/suggest.ts'
import { systemReason } from '../oci/system-error.ts'
import { exitCodes, usageError } from './cli-error.ts'
import type { CliContext, Command } from './command.ts'
import { readEnvironment } from './environment.ts'
import { catchInterrupts } from './interrupts.ts'
import type { CommandEntry, Program } from './program.ts'
import { reportFailure } from './report-failure.ts'
import { chooseSnapshotter } from './snapshotter-choice.ts'
import { terminalOf } from './terminal.ts'
import { programVersion } from './version.ts'

/** Runs the process's command line and ends the process. */
export async function runProgram(program: Program): Promise<never> {
  // Until it is known: a process whose work never settles ends too, and must not look well then.
  process.exitCode = exitCodes.internal
  endWithOutput()
  const environment = readEnvironment()
  if (environment.nativeFolder !== undefined) useNativeFolder(environment.nativeFolder)
  const interrupts = catchInterrupts()
  const context: CliContext = {
    environment,
    interrupts,
    signal: interrupts.signal,
    stdin: () => process.stdin,
    stdout: process.stdout,
    stderr: terminalOf(process.stderr, environment),
  }
  const code = await runCommandLine(program, process.argv.slice(2), context)
  await Promise.all([written(process.stdout), written(process.stderr)])
  // The exit ends whatever still keeps the process alive, and may itself wait for a stuck thread.
  interrupts[Symbol.dispose]()
  process.exit(code)
}

/** Writes to a pipe wait in the process while its reader is slow, and would be lost at the end. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise(resolve => {
    stream.write('', () => resolve())
  })
}

/** What was printed is lost: nobody may take what did arrive for the whole. */
function endWithOutput(): void {
  process.stderr.on('error', endUnwritten)
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') {
      process.stderr.write(`ERROR: Cannot write to standard output: ${systemReason(error)}\n`)
    }
    endUnwritten(error)
  })
}

/** A reader that has seen enough (`| head`) is no failure: what a program killed by SIGPIPE returns. */
function endUnwritten(error: NodeJS.ErrnoException): never {
  process.exit(error.code === 'EPIPE' ? 141 : exitCodes.failure)
}

/** Never throws: failures are reported on stderr and become the exit code. */
export async function runCommandLine(
  program: Program,
  words: readonly string[],
  context: CliContext,
): Promise<number> {
  let command: Command | undefined
  let meant: string | undefined
  try {
    const line = findCommand(program, words)
    if (line.kind === 'text') return await print(line, program, context)
    meant = line.meant
    if (needsRoot(line)) {
      const { runAsNamespaceRoot } = await import('./user-namespace.ts')
      return await runAsNamespaceRoot(context)
    }
    chooseSnapshotter(context)
    command = await line.entry.load()
    const code = await command.invoke(line.args, context)
    return code === 'help' ? await printCommandHelp(program, command, context) : code
  } catch (error) {
    return reportFailure(error, { program, command, meant, ...context })
  }
}

/** Help is for everybody. */
function needsRoot({ entry, args }: Extract<CommandLine, { kind: 'command' }>): boolean {
  return entry.asRoot === true && process.geteuid?.() !== 0 && !args.includes('--help')
}

type CommandLine =
  | { readonly kind: 'text'; readonly text: 'help' | 'version' }
  | {
      readonly kind: 'command'
      readonly entry: CommandEntry
      readonly args: readonly string[]
      /** A command that the first word may have been meant to be, where it was taken otherwise. */
      readonly meant?: string | undefined
    }

function findCommand(program: Program, words: readonly string[]): CommandLine {
  const [first, ...rest] = words
  if (first === undefined || first === '--help' || first === '-h') {
    return { kind: 'text', text: 'help' }
  }
  if (first === '--version' || first === '-v' || (first === 'version' && rest.length === 0)) {
    return { kind: 'text', text: 'version' }
  }
  if (first === 'help') {
    if (rest.length === 0) return { kind: 'text', text: 'help' }
    return findCommand(program, [...rest, '--help'])
  }
  const named = namedCommand(program, words)
  if (named !== undefined) return { kind: 'command', ...named }
  const meant = first.startsWith('-') ? undefined : meantCommand(program, first)
  const fallback = program.commands.find(({ name }) => name === program.fallback)
  if (fallback !== undefined) return { kind: 'command', entry: fallback, args: words, meant }
  const kind = first.startsWith('-') ? 'flag' : 'command'
  throw usageError(
    `Unknown ${kind} ${JSON.stringify(first)}`,
    meant === undefined ? undefined : `Did you mean "${meant}"?`,
  )
}

/** By one word or, for an alias such as `image ls`, by two. */
function namedCommand(
  { commands }: Program,
  words: readonly string[],
): { entry: CommandEntry; args: readonly string[] } | undefined {
  for (const length of [1, 2]) {
    const name = words.slice(0, length).join(' ')
    const entry = commands.find(
      ({ name: own, aliases = [] }) => own === name || aliases.includes(name),
    )
    if (entry !== undefined) return { entry, args: words.slice(length) }
  }
  return undefined
}

function meantCommand({ name: programName, commands }: Program, word: string): string | undefined {
  const names = commands.flatMap(({ name, aliases = [] }) => [name, ...aliases])
  const meant = suggest(word, names)
  return meant === undefined ? undefined : `${programName} ${meant}`
}

async function print(
  { text }: { readonly text: 'help' | 'version' },
  program: Program,
  { stdout, stderr }: CliContext,
): Promise<number> {
  if (text === 'version') {
    stdout.write(`${program.name} ${programVersion()}\n`)
    return exitCodes.ok
  }
  const { programHelp } = await import('./flags/help.ts')
  stdout.write(programHelp(program, stderr.size().columns))
  return exitCodes.ok
}

async function printCommandHelp(
  program: Program,
  command: Command,
  { stdout, stderr }: CliContext,
): Promise<number> {
  const { commandHelp } = await import('./flags/help.ts')
  stdout.write(commandHelp(program.name, command, stderr.size().columns))
  return exitCodes.ok
}
