import { OciError } from '../../oci/errors.ts'

/** What `start` gives, which starts a thread of the addon. Throws `unavailable`: `Cannot ${what}`. */
export function startingThread<T>(what: string, start: () => T): T {
  try {
    return start()
  } catch (cause) {
    throw new OciError('unavailable', `Cannot ${what}: no thread can be started for it`, {
      cause,
      hint: 'the machine may be short of memory; try again',
    })
  }
}
