import { OciError } from '../oci/errors.ts'
import { DockerfileError } from './dockerfile/error.ts'
import { formatExcerpt } from './dockerfile/excerpt.ts'

/** A failed build, with the lines of the Dockerfile that it failed at. */
export class BuildError extends OciError {
  override readonly name = 'BuildError'
  /** As BuildKit lays it out; empty when no line is to blame. */
  readonly excerpt: string

  constructor(error: OciError, excerpt: string) {
    super(error.code, `failed to solve: ${error.message}`, {
      cause: error,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    })
    this.excerpt = excerpt
  }

  /** The same with one more thing that the user can do. */
  advised(advice: string): BuildError {
    const { cause, hint } = this
    if (!(cause instanceof OciError)) throw new Error('A build error without a cause')
    const text = hint === undefined ? advice : `${hint}\n${advice}`
    return new BuildError(
      new OciError(cause.code, cause.message, { cause, hint: text }),
      this.excerpt,
    )
  }
}

/** `error` as the build's failure; what is no failure of the build's input stays as it is. */
export function buildFailure(error: unknown, source: string): unknown {
  if (error instanceof DockerfileError) return new BuildError(error, formatExcerpt(source, error))
  if (error instanceof OciError) return new BuildError(error, '')
  return error
}
