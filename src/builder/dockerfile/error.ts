/**
 * DockerfileError: what is wrong in a Dockerfile, and on which lines.
 *
 * The message is BuildKit's, word for word where BuildKit has one, because people search for it.
 * Functions that know no position (expansion, globs) throw without a span; whoever knows the
 * instruction adds it with {@link atSpan}.
 */
import { type ErrorCode, OciError } from '../../oci/errors.ts'
import type { Span } from './span.ts'

export interface DockerfileErrorDetails {
  readonly span?: Span | undefined
  readonly file?: string | undefined
  readonly hint?: string | undefined
  readonly cause?: unknown
  /** `invalid` unless said otherwise. */
  readonly code?: ErrorCode
}

export class DockerfileError extends OciError {
  override readonly name = 'DockerfileError'
  readonly span: Span | undefined
  readonly file: string | undefined

  constructor(message: string, details: DockerfileErrorDetails = {}) {
    const { hint, cause } = details
    super(details.code ?? 'invalid', message, {
      ...(hint === undefined ? {} : { hint }),
      ...(cause === undefined ? {} : { cause }),
    })
    this.span = details.span
    this.file = details.file
  }
}

export interface Place {
  readonly file: string
  readonly span: Span
}

/**
 * The value of `evaluate`; a {@link DockerfileError} without a span, and any other `OciError`,
 * leaves as a DockerfileError at `place`.
 */
export function atSpan<T>(place: Place, evaluate: () => T): T {
  try {
    return evaluate()
  } catch (error) {
    throw placed(error, place)
  }
}

/** As {@link atSpan}, for what takes time. */
export async function atSpanAsync<T>(place: Place, evaluate: () => Promise<T>): Promise<T> {
  try {
    return await evaluate()
  } catch (error) {
    throw placed(error, place)
  }
}

function placed(error: unknown, place: Place): unknown {
  if (!(error instanceof OciError)) return error
  if (error instanceof DockerfileError && error.span !== undefined) return error
  return new DockerfileError(error.message, {
    span: place.span,
    file: place.file,
    hint: error.hint,
    cause: error instanceof DockerfileError ? error.cause : error,
    code: error.code,
  })
}

/** `error` with `prefix` before its message. */
export function prefixed(prefix: string, error: DockerfileError): DockerfileError {
  return new DockerfileError(`${prefix}${error.message}`, {
    span: error.span,
    file: error.file,
    hint: error.hint,
    cause: error.cause,
    code: error.code,
  })
}
