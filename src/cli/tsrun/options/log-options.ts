/** `--log-opt`: how much of the output is kept. */
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import { parseAs, parseInteger, parseSize } from '../../flags/flag-values.ts'

const least = 4096

/**
 * Bytes, `undefined` for all: docker's files of `max-size`, `max-file` of them, are one here. Throws a
 * usage error that quotes the option.
 */
export function logLimitOf(options: readonly string[]): number | undefined {
  let size: number | undefined
  let files = 1
  for (const option of options) {
    const [name = '', value = ''] = option.split(/=(.*)/s)
    const subject = `flag --log-opt ${printable(option)}`
    if (name === 'max-size') size = parseAs(subject, () => parseSize(value))
    else if (name === 'max-file') files = parseAs(subject, () => parseInteger(value))
    else throw usageError(`Cannot use ${subject}: expected max-size=BYTES or max-file=NUMBER`)
  }
  if (files < 1) throw usageError('Cannot use flag --log-opt max-file: less than one')
  if (size === undefined) {
    if (files === 1) return undefined
    throw usageError('Cannot use flag --log-opt max-file: it takes max-size, too')
  }
  if (size < least) throw usageError(`Cannot use flag --log-opt max-size: the least is ${least}`)
  return size * files
}
