import { OciError, printable } from '../oci/errors.ts'

/**
 * `--build-arg SOURCE_DATE_EPOCH`: no time that a build writes is later. Throws `invalid`, in
 * BuildKit's words, for anything but whole seconds (A09).
 */
export function sourceDateEpoch(buildArgs: ReadonlyMap<string, string>): Date | undefined {
  const text = buildArgs.get('SOURCE_DATE_EPOCH')
  if (text === undefined || text === '') return undefined
  const seconds = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
  const date = new Date(seconds * 1000)
  if (!Number.isNaN(date.getTime())) return date
  throw new OciError('invalid', `invalid SOURCE_DATE_EPOCH: ${printable(text)}`, {
    hint: 'give whole seconds since 1970',
  })
}
