/** Failures that end a program with an exit code of their own. */
import { type ErrorDetails, OciError } from '../oci/errors.ts'

/** Exit codes, as the docker command line has them. */
export const exitCodes = {
  ok: 0,
  failure: 1,
  /** A bug in this program. */
  internal: 100,
  /** The command line is wrong; for `tsrun run` also: the container could not be started. */
  usage: 125,
  interrupted: 130,
  terminated: 143,
} as const

export class CliError extends OciError {
  readonly exitCode: number

  constructor(exitCode: number, message: string, details: ErrorDetails = {}) {
    super('invalid', message, details)
    this.exitCode = exitCode
  }
}

/** The command line cannot be carried out as it was typed. */
export function usageError(message: string, hint?: string): CliError {
  return new CliError(exitCodes.usage, message, hint === undefined ? {} : { hint })
}
