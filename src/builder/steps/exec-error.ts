import type { ExitStatus } from '../../layerfs/sandbox/spec.ts'
import { OciError } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import { goQuote } from '../dockerfile/go-quote.ts'

const outOfMemory = 'Give the machine more memory, or have the step do less at once'

/** What usually is to be done where the code says what happened; a program may mean something else. */
const adviceOn = new Map([
  [
    126,
    'Make the program executable (COPY --chmod=755, chmod +x), and see that the one its #! line names is in the image',
  ],
  [127, 'Install the program that is missing in an earlier RUN, or name it by its whole path'],
  [137, 'Something killed the process, most often for want of memory'],
])

/** How every message of a step's process begins that did not end well. */
export function incomplete(argv: readonly string[]): string {
  return `process ${goQuote(argv.join(' '))} did not complete successfully`
}

/** A step's process that ended otherwise than with 0, in BuildKit's words (R03). */
export class ExecError extends OciError {
  override readonly name = 'ExecError'
  readonly status: ExitStatus

  constructor(argv: readonly string[], status: ExitStatus) {
    const ending = status.outOfMemory ? 'cannot allocate memory, ' : ''
    super(
      'denied',
      `${incomplete(argv)}: ${ending}exit code: ${status.code}`,
      field('hint', status.outOfMemory ? outOfMemory : adviceOn.get(status.code)),
    )
    this.status = status
  }
}
