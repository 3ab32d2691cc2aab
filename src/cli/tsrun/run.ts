import { exitCodes } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { runFlags, unsupportedRunFlags } from './options/run-flags.ts'

export const runCommand: Command = defineCommand({
  name: 'run',
  usage: '[FLAGS] IMAGE [COMMAND] [ARGUMENTS]',
  summary: 'Run a command in a new container',
  examples: [
    'run --rm -it busybox',
    '{program} --rm -v .:/work -w /work node:22 npm test',
    '{program} --rm --network none --memory 512m --cpus 1 app',
  ],
  flags: runFlags,
  unsupported: unsupportedRunFlags,
  positionals: 'first-ends-flags',
  arity: { min: 1 },
  exitCodeOf,
  // Only now: the flags and their help are there without the code behind them.
  run: async invocation => (await import('./run-image.ts')).runImage(invocation),
})

export function exitCodeOf(error: unknown): number {
  return hasExitCode(error) ? error.exitCode : exitCodes.usage
}

/** A `SandboxError`: 126 and 127 when the program cannot be started. */
function hasExitCode(error: unknown): error is { readonly exitCode: number } {
  return error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number'
}
