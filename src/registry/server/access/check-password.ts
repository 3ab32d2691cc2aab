/**
 * Whether a name and a password go together, without the cost of bcrypt for those that were right a
 * moment ago.
 *
 * 1. What is remembered is a keyed hash of name, password and the hash that they were checked
 *    against: another password, or another line in the file, is another key. The key of it lives and
 *    dies with the process.
 * 2. Only what was right is remembered: guesses push nobody's entry out.
 * 3. The same question, asked many times at once, is worked on once.
 * 4. A user that does not exist takes as long as a wrong password.
 */
import { hash as digest, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { OciError } from '../../../oci/errors.ts'
import type { PasswordComparer } from './compare-password.ts'
import { type Htpasswd, hashOfNobody } from './htpasswd.ts'

export interface PasswordCheck {
  /** Throws `unavailable` when too many wait already. */
  isRight(login: Login): Promise<boolean>
}

export interface Login {
  readonly user: string
  readonly password: string
  readonly remote: string | undefined
}

/** Comparisons that wait or run: of everybody, and of one address. */
const most = { altogether: 64, perRemote: 8 }

const rememberedMs = 5 * 60_000

/** bcrypt reads no further, so the rest of a longer one would not matter. */
const maxPasswordBytes = 72

export function createPasswordCheck(
  users: () => Htpasswd,
  comparer: Pick<PasswordComparer, 'compare'>,
): PasswordCheck {
  const key = randomBytes(32).toString('hex')
  const right = new LRUCache<string, true>({ max: 10_000, ttl: rememberedMs })
  const running = new Map<string, Promise<boolean>>()
  const places = createPlaces()
  return {
    isRight: async ({ user, password, remote }) => {
      if (Buffer.byteLength(password) > maxPasswordBytes || password.includes('\0')) return false
      const hash = users().get(user)
      const compared = hash ?? hashOfNobody(users())
      // The digest stays here, so nobody can lengthen it: HMAC would hash twice, in objects of its own.
      const question = digest('sha256', key + JSON.stringify([user, password, compared]), 'base64')
      if (right.has(question)) return true
      let answer = running.get(question)
      if (answer === undefined) {
        const leave = places.enter(remote)
        answer = comparer.compare(password, compared).finally(() => {
          leave()
          running.delete(question)
        })
        running.set(question, answer)
      }
      const isRight = (await answer) && hash !== undefined
      if (isRight) right.set(question, true)
      return isRight
    },
  }
}

function createPlaces() {
  const taken = new Map<string, number>()
  let altogether = 0
  return {
    enter: (remote = ''): (() => void) => {
      const own = taken.get(remote) ?? 0
      if (altogether >= most.altogether || own >= most.perRemote) {
        throw new OciError('unavailable', 'Too many logins at once: try again later')
      }
      altogether++
      taken.set(remote, own + 1)
      return () => {
        altogether--
        const left = (taken.get(remote) ?? 1) - 1
        if (left === 0) taken.delete(remote)
        else taken.set(remote, left)
      }
    },
  }
}
