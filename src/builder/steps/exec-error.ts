import type { ExitStatus } from '../../layerfs/sandbox/spec.ts'
import { OciError } from '../../oci/errors.ts'

/** A step's process that ended otherwise than with 0, in BuildKit's words (R03). */
export class ExecError extends OciError {
  override readonly name = 'ExecError'
  readonly status: ExitStatus

  constructor(argv: readonly string[], status: ExitStatus) {
    const ending = status.outOfMemory ? 'cannot allocate memory, ' : ''
    super(
      'denied',
      `process "${argv.join(' ')}" did not complete successfully: ${ending}exit code: ${status.code}`,
    )
    this.status = status
  }
}
