/** An error as data: the class of an error does not survive the way between threads. */
import { type ErrorCode, OciError } from '../../oci/errors.ts'

export interface Failure {
  readonly message: string
  readonly code?: ErrorCode
  readonly hint?: string
  readonly cause?: unknown
}

export function failureOf(error: unknown): Failure {
  if (!(error instanceof OciError)) {
    return { message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
  const { message, code, hint, cause } = error
  return {
    message,
    code,
    ...(hint === undefined ? {} : { hint }),
    ...(cause instanceof Error ? { cause: cause.message } : {}),
  }
}

export function errorOf({ message, code, hint, cause }: Failure): Error {
  if (code === undefined) return new Error(message)
  return new OciError(code, message, { cause, ...(hint === undefined ? {} : { hint }) })
}
