/**
 * The command line of an OCI runtime, as runc and crun have it, so that podman, containerd and
 * others can drive us: `tsrun-oci [GLOBAL FLAGS] COMMAND [FLAGS] ID …`.
 *
 * They start it several times for each container, so a command's code is loaded by itself. Standard
 * streams are the container's: only what a command prints is written, and to a descriptor, as Node's
 * own streams would make a pipe of the caller's non-blocking for everybody.
 */
import { appendFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { specVersion } from '../../layerfs/oci-runtime/spec-version.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { suggest } from '../../oci/suggest.ts'
import { usageError } from '../cli-error.ts'
import { readEnvironment } from '../environment.ts'
import {
  type FlagTable,
  type FlagValues,
  parseFlags,
  type UnsupportedFlag,
} from '../flags/flags.ts'
import { programVersion } from '../version.ts'
import { runtimeCommands } from './commands.ts'

const globalFlags = {
  root: { kind: 'string', value: 'DIR', help: 'Where the state of containers is kept' },
  log: { kind: 'string', value: 'FILE', help: 'Append errors to a file, too' },
  'log-format': {
    kind: 'choice',
    choices: ['text', 'json'],
    default: 'text',
    help: 'How they look there',
  },
  'log-level': {
    kind: 'choice',
    choices: ['debug', 'info', 'warn', 'warning', 'error', 'fatal', 'panic'],
    default: 'info',
    help: 'Errors and warnings are logged whatever it is',
  },
  debug: { kind: 'boolean', help: 'Add the stack of an error to what is logged' },
  'systemd-cgroup': { kind: 'boolean', help: 'Refused: cgroups are made as files' },
  'cgroup-manager': {
    kind: 'choice',
    choices: ['cgroupfs', 'systemd', 'disabled'],
    default: 'cgroupfs',
    help: 'As crun has it; only cgroupfs',
  },
  help: { kind: 'boolean', short: 'h', help: 'Print this help' },
  version: { kind: 'boolean', short: 'v', help: 'Print the version' },
} as const satisfies FlagTable

const unsupportedGlobals: Readonly<Record<string, UnsupportedFlag>> = {
  criu: { reason: 'Containers are not checkpointed' },
  rootless: { reason: 'What we may do is found out' },
}

export type GlobalFlags = FlagValues<typeof globalFlags>

/** Never throws: the exit code. `program` is how it was called, for its help. */
export async function runRuntime(words: readonly string[], program = 'tsrun-oci'): Promise<number> {
  let globals: GlobalFlags | undefined
  try {
    const parsed = parseFlags(
      { flags: globalFlags, unsupported: unsupportedGlobals, positionals: 'first-ends-flags' },
      words,
    )
    globals = parsed.values
    return await runCommand(globals, parsed.positionals, program)
  } catch (error) {
    return report(error, globals)
  }
}

async function runCommand(
  globals: GlobalFlags,
  words: readonly string[],
  program: string,
): Promise<number> {
  const [name, ...args] = words
  if (globals.version) return print(versionText())
  if (globals.help || name === undefined || name === 'help') {
    const { runtimeHelp } = await import('./runtime-help.ts')
    return print(await runtimeHelp(program, globalFlags, globals.help ? name : args[0]))
  }
  const entry = runtimeCommands.get(name)
  if (entry === undefined) throw unknownCommand(name)
  if (args[0] === '--help' || args[0] === '-h') {
    const { runtimeHelp } = await import('./runtime-help.ts')
    return print(await runtimeHelp(program, globalFlags, name))
  }
  assertCgroupManager(globals)
  const command = await entry.load()
  return await command.run(args, {
    root: globals.root ?? defaultRoot(),
    print: text => void print(text),
    warn: text => log(globals, { level: 'warning', message: text }),
  })
}

function print(text: string): number {
  writeSync(1, text)
  return 0
}

function versionText(): string {
  return `tsrun-oci version ${programVersion()}\nspec: ${specVersion}\n`
}

const refusedCommands: readonly string[] = ['checkpoint', 'restore', 'events', 'spec']

function unknownCommand(name: string): OciError {
  if (refusedCommands.includes(name)) return usageError(`Command "${name}" is not supported`)
  const meant = suggest(name, runtimeCommands.keys())
  return usageError(
    `Unknown command ${JSON.stringify(printable(name))}`,
    meant === undefined ? undefined : `Did you mean "${meant}"?`,
  )
}

function assertCgroupManager(globals: GlobalFlags): void {
  if (!globals['systemd-cgroup'] && globals['cgroup-manager'] === 'cgroupfs') return
  throw new OciError('unsupported', 'Cannot use another cgroup manager than cgroupfs', {
    hint: 'Leave --systemd-cgroup out: podman --cgroup-manager cgroupfs',
  })
}

function defaultRoot(): string {
  const runtime = readEnvironment().lookup('XDG_RUNTIME_DIR')
  if (process.geteuid?.() === 0 || runtime === undefined) return '/run/tsrun-oci'
  return join(runtime, 'tsrun-oci')
}

function report(error: unknown, globals: GlobalFlags | undefined): number {
  const message = error instanceof Error ? error.message : String(error)
  const stack = globals?.debug === true && error instanceof Error ? `\n${error.stack}` : ''
  log(globals, { level: 'error', message: `${printable(message, 4000)}${stack}` })
  if (error instanceof OciError && error.hint !== undefined) {
    writeSync(2, `${printable(error.hint, 4000)}\n`)
  }
  const code = error instanceof Error && 'exitCode' in error ? error.exitCode : undefined
  return typeof code === 'number' ? code : 1
}

interface LogEntry {
  readonly level: 'error' | 'warning'
  readonly message: string
}

/** On standard error, where conmon takes it from, and in the file, where containerd does. */
function log(globals: GlobalFlags | undefined, { level, message }: LogEntry): void {
  writeSync(2, `${level === 'error' ? '' : 'WARNING: '}${message}\n`)
  if (globals?.log === undefined || globals.log === '') return
  const time = new Date().toISOString()
  const line =
    globals['log-format'] === 'json'
      ? JSON.stringify({ level, msg: message, time })
      : `time="${time}" level=${level} msg=${JSON.stringify(message)}`
  try {
    appendFileSync(globals.log, `${line}\n`)
  } catch (cause) {
    writeSync(2, `Cannot write to the log: ${cause instanceof Error ? cause.message : cause}\n`)
  }
}
