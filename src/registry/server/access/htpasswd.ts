/**
 * Users and their passwords' hashes, as Apache's `htpasswd -B` writes them: `name:$2y$10$…`, one to a
 * line. bcrypt alone: the other kinds are guessed in no time.
 */
import { OciError, printable } from '../../../oci/errors.ts'
import { robotPrefix } from './identity.ts'

/** Hashes by the user's name. */
export type Htpasswd = ReadonlyMap<string, string>

/** A cost of 18 takes half a minute; nobody means that. */
const maxCost = 16

/** Throws `invalid` with the number of the line; what is in the line is no one's to print. */
export function parseHtpasswd(name: string, text: string): Htpasswd {
  const users = new Map<string, string>()
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const refuse = (why: string) =>
      new OciError('invalid', `Cannot use htpasswd "${printable(name)}": line ${i + 1}: ${why}`)
    const at = line.indexOf(':')
    if (at < 1) throw refuse('expected NAME:HASH')
    const user = line.slice(0, at)
    const hash = line.slice(at + 1)
    const cost = Number(/^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash)?.[1])
    if (Number.isNaN(cost)) throw refuse('the hash is not bcrypt: make it with htpasswd -B')
    if (cost < 4 || cost > maxCost) throw refuse(`a cost of ${cost}: expected 4 to ${maxCost}`)
    if (user.startsWith(robotPrefix))
      throw refuse(`names with "${robotPrefix}" are those of robots`)
    if (users.has(user)) throw refuse(`user "${printable(user, 40)}" is there twice`)
    users.set(user, hash)
  }
  return users
}

/**
 * A hash that no password has, as costly as the costliest: it is compared with for users that do not
 * exist, so that the time tells nothing.
 */
export function hashOfNobody(users: Htpasswd): string {
  const costs = [...users.values()].map(hash => hash.slice(4, 6))
  const cost = costs.sort().at(-1) ?? '10'
  return `$2y$${cost}$${'.'.repeat(53)}`
}
