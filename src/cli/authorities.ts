/** `SSL_CERT_FILE`: certificate authorities that are trusted beside Node's own. */
import { readFileSync } from 'node:fs'
import { OciError } from '../oci/errors.ts'
import type { EnvironmentLookup } from './flags/flags.ts'

/** `undefined` when the variable is not set. Throws `invalid` for a file that cannot be read. */
export function authoritiesFrom(lookup: EnvironmentLookup): readonly Uint8Array[] | undefined {
  const file = lookup('SSL_CERT_FILE')
  if (file === undefined) return undefined
  try {
    return [readFileSync(file)]
  } catch (cause) {
    const reason = (cause as Error).message
    throw new OciError('invalid', `Cannot read SSL_CERT_FILE: ${reason}`, { cause })
  }
}
