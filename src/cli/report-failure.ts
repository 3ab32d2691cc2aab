/**
 * How a command's failure looks on stderr, and which exit code it becomes:
 *
 *   <excerpt, when the error carries one>
 *   ERROR: message
 *   hint
 */
import { OciError, printable } from '../oci/errors.ts'
import { isSystemError, systemMessage } from '../oci/system-error.ts'
import { CliError, exitCodes } from './cli-error.ts'
import type { CliContext, Command } from './command.ts'
import { styled } from './terminal.ts'

export interface FailedCommand extends Pick<CliContext, 'environment' | 'signal' | 'stderr'> {
  /** Absent where no help tells more: the failure is of one of several names. */
  readonly program?: { readonly name: string } | undefined
  /** `undefined`: the failure came before a command was found. */
  readonly command: Pick<Command, 'name' | 'errorPrefix' | 'exitCodeOf'> | undefined
  /** A command line that may have been meant instead. */
  readonly meant?: string | undefined
}

/** Writes the report and returns the exit code. */
export function reportFailure(thrown: unknown, failed: FailedCommand): number {
  const error = firstFailure(thrown)
  const { signal, command } = failed
  if (signal.aborted) return reportCanceled(failed)
  if (error instanceof CliError) {
    if (error.message !== '') {
      const isUsage = error.exitCode === exitCodes.usage
      write(failed, {
        message: error.message,
        hint: isUsage ? usageHint(error, failed) : error.hint,
      })
    }
    return error.exitCode
  }
  const failureCode = command?.exitCodeOf?.(error) ?? exitCodes.failure
  if (error instanceof OciError) {
    const message = `${command?.errorPrefix ?? ''}${error.message}`
    write(failed, { message, hint: error.hint, excerpt: excerptOf(error) })
    return failureCode
  }
  if (isSystemError(error)) {
    write(failed, {
      message: `${command?.errorPrefix ?? ''}${systemMessage(error)}`,
      hint: hintFor(error),
    })
    return failureCode
  }
  reportBug(error, failed)
  return command?.exitCodeOf?.(error) ?? exitCodes.internal
}

/** When cleaning up after a failure fails too, `using` throws both: the first is what went wrong. */
function firstFailure(thrown: unknown): unknown {
  let error = thrown
  while (error instanceof Error && error.name === 'SuppressedError' && 'suppressed' in error) {
    error = error.suppressed
  }
  return error
}

function reportCanceled({ signal, stderr }: FailedCommand): number {
  const reason: unknown = signal.reason
  stderr.write(`${styled('ERROR:', 'red', stderr)} canceled\n`)
  return reason instanceof CliError ? reason.exitCode : exitCodes.interrupted
}

function usageHint({ hint }: CliError, { program, command }: FailedCommand): string | undefined {
  if (program === undefined) return hint
  const line = [program.name, ...(command === undefined ? [] : [command.name]), '--help'].join(' ')
  return `${hint === undefined ? '' : `${hint}\n`}See "${line}"`
}

/** The failing lines of a Dockerfile; several lines, already laid out. */
function excerptOf(error: Error): string | undefined {
  return 'excerpt' in error && typeof error.excerpt === 'string' ? error.excerpt : undefined
}

interface Report {
  readonly message: string
  readonly hint?: string | undefined
  readonly excerpt?: string | undefined
}

function write({ stderr, meant }: FailedCommand, { message, hint, excerpt }: Report): void {
  if (excerpt !== undefined && excerpt !== '') stderr.write(`${printableLines(excerpt)}\n`)
  stderr.write(`${styled('ERROR:', 'red', stderr)} ${printableLines(message)}\n`)
  if (hint !== undefined) stderr.write(`${printableLines(hint)}\n`)
  if (meant !== undefined) stderr.write(`Did you mean "${meant}"?\n`)
}

/** Messages may quote outside text: no escape sequence reaches the terminal. */
function printableLines(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map(line => printable(line.replaceAll('\t', '    '), 10_000))
    .join('\n')
}

function hintFor(error: NodeJS.ErrnoException): string | undefined {
  return Object.hasOwn(systemHints, error.code ?? '') ? systemHints[error.code ?? ''] : undefined
}

const diskFullHint = 'Free some space: "tsbuild prune" removes what no image needs'
const filesHint = 'Let it have more open files: ulimit -n 1024'

const systemHints: Readonly<Record<string, string>> = {
  EDQUOT: diskFullHint,
  EMFILE: filesHint,
  ENOSPC: diskFullHint,
}

function reportBug(error: unknown, { environment, stderr }: FailedCommand): void {
  const summary = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  stderr.write(`${styled('ERROR:', 'red', stderr)} internal error: ${printable(summary, 1000)}\n`)
  if (!environment.isDebug) {
    stderr.write('This is a bug. TSBUILD_DEBUG=1 shows where it happened\n')
    return
  }
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    stderr.write(`${cause.stack ?? cause.message}\n`)
  }
}
