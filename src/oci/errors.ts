/**
 * The errors that callers branch on.
 *
 * A `code` exists only when some caller decides by it. A bug in this program is a plain `Error`.
 * Messages follow one form: action and object, a colon, then the state, with expected and actual
 * values quoted: `Cannot parse digest "sha256:xyz": expected 64 lower-case hex digits`.
 */

export type ErrorCode =
  | 'already-exists'
  | 'conflict'
  | 'denied'
  | 'digest-mismatch'
  | 'invalid'
  | 'not-found'
  | 'too-large'
  | 'unauthenticated'
  | 'unavailable'
  | 'unsupported'

export interface ErrorDetails {
  readonly cause?: unknown
  /** What the user can do about it; printed on a line of its own. */
  readonly hint?: string
}

export class OciError extends Error {
  override readonly name: string = 'OciError'
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.hint = details.hint
  }
}

/** Whether `error` carries `code`: ours (`not-found`) or the system's (`ENOENT`). */
export function hasCode(error: unknown, code: ErrorCode | `E${Uppercase<string>}`): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** Closes an exhaustive switch: a case that compiles here is a case that was forgotten. */
export function unreachable(value: never): never {
  throw new Error(`Unreachable case: ${JSON.stringify(value)}`)
}

/**
 * Outside text made safe to print: control characters (a terminal obeys them, a log is split by
 * them) become `\u00xx`, and anything after `limit` characters is cut.
 */
export function printable(text: string, limit = 200): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text
  return cut.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being removed
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
