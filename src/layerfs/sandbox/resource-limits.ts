/** Names of setrlimit(2)'s resources, as users write them, and their numbers. */
import { OciError, printable } from '../../oci/errors.ts'
import { suggest } from '../../oci/suggest.ts'

/** A name's place is its number, as on every architecture that we build for. */
export const resourceNames: readonly string[] = [
  'cpu',
  'fsize',
  'data',
  'stack',
  'core',
  'rss',
  'nproc',
  'nofile',
  'memlock',
  'as',
  'locks',
  'sigpending',
  'msgqueue',
  'nice',
  'rtprio',
  'rttime',
]

/** Throws `invalid`, quoting the name. */
export function resourceNumber(name: string): number {
  const number = resourceNames.indexOf(name)
  if (number !== -1) return number
  const meant = suggest(name, resourceNames)
  throw new OciError('invalid', `Cannot limit "${printable(name)}": Linux has no such limit`, {
    hint: meant === undefined ? `There are ${resourceNames.join(', ')}` : `Did you mean ${meant}?`,
  })
}
