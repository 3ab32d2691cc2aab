/**
 * Robot keys: names with a random secret and an end, for machines that push and pull. They are stored
 * with the registry's data, so every replica knows them, and only as hashes.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { OciError, printable } from '../../../oci/errors.ts'
import { robotKey, robotsPrefix } from '../../storage/keys.ts'
import { listAll, type ObjectReader, type ObjectStore } from '../../storage/object-store.ts'
import { encodeRecord, readRecord } from '../../storage/records.ts'
import { type Account, stampOf } from './account.ts'
import type { Login } from './check-password.ts'
import { robotPrefix } from './identity.ts'

export interface Robot {
  /** Without the prefix that policies and logins have it with. */
  readonly name: string
  readonly groups: readonly string[]
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** Absent: never. */
  readonly expiresAt?: number
}

interface StoredRobot extends Robot {
  /** SHA-256, in hexadecimal: the secret has 256 random bits, which nobody guesses. */
  readonly hash: string
}

export interface NewRobot {
  readonly name: string
  readonly groups: readonly string[]
  readonly expiresAt?: number
}

/** Throws `invalid` for a name that is none. */
export function parseRobotName(text: string): string {
  if (/^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/.test(text)) return text
  throw new OciError(
    'invalid',
    `Cannot parse robot name "${printable(text, 80)}": expected up to 64 of a-z 0-9 . _ -`,
  )
}

/** The secret, which is shown once and stored nowhere. Throws `conflict` when the name is taken. */
export async function createRobot(
  objects: ObjectStore,
  { name, groups, expiresAt }: NewRobot,
  now: Date,
): Promise<string> {
  const secret = `tsr_${randomBytes(32).toString('base64url')}`
  const end = expiresAt === undefined ? {} : { expiresAt }
  const record = { name, groups, createdAt: now.getTime(), hash: hashOf(secret), ...end }
  await objects.put(robotKey(name), encodeRecord(record), { condition: { kind: 'absent' } })
  return secret
}

export async function listRobots(objects: ObjectReader): Promise<Robot[]> {
  const robots: Robot[] = []
  for await (const key of listAll(objects, robotsPrefix)) {
    const robot = await readRobot(objects, key.slice(robotsPrefix.length))
    if (robot !== undefined) robots.push(robot)
  }
  return robots
}

/** Throws `not-found`. Servers that know the key forget it within seconds. */
export async function revokeRobot(objects: ObjectStore, name: string): Promise<void> {
  const key = robotKey(name)
  if ((await objects.size(key)) === undefined) {
    throw new OciError('not-found', `Cannot revoke robot "${name}": there is none of this name`)
  }
  await objects.delete(key)
}

export interface RobotCheck {
  logIn(login: Pick<Login, 'user' | 'password'>): Promise<Account | undefined>
  /** By the name with its prefix; `undefined` when there is none, or no more. */
  find(name: string): Promise<Account | undefined>
}

/** For so long a key that was revoked may still be taken. */
const rememberedMs = 5000

export function createRobotCheck(objects: ObjectReader, now: () => number = Date.now): RobotCheck {
  const known = new LRUCache<string, Promise<StoredRobot | undefined>>({
    max: 1000,
    ttl: rememberedMs,
  })
  const lookUp = async (user: string): Promise<StoredRobot | undefined> => {
    const name = user.slice(robotPrefix.length)
    if (!user.startsWith(robotPrefix) || !isRobotName(name)) return undefined
    let found = known.get(name)
    if (found === undefined) {
      found = readRobot(objects, name)
      known.set(name, found)
      found.catch(() => known.delete(name))
    }
    const robot = await found
    return robot?.expiresAt !== undefined && robot.expiresAt <= now() ? undefined : robot
  }
  return {
    logIn: async ({ user, password }) => {
      const robot = await lookUp(user)
      const expected = Buffer.from(robot?.hash ?? hashOf(''))
      const isRight = timingSafeEqual(Buffer.from(hashOf(password)), expected)
      return isRight && robot !== undefined ? accountOf(robot) : undefined
    },
    find: async name => {
      const robot = await lookUp(name)
      return robot === undefined ? undefined : accountOf(robot)
    },
  }

  function accountOf({ name, groups, hash, expiresAt = Infinity }: StoredRobot): Account {
    return {
      identity: { kind: 'robot', name: robotPrefix + name, groups },
      stamp: stampOf(hash),
      until: Math.min(expiresAt, now() + known.getRemainingTTL(name)),
    }
  }
}

function isRobotName(name: string): boolean {
  try {
    return parseRobotName(name) === name
  } catch {
    return false
  }
}

async function readRobot(objects: ObjectReader, name: string): Promise<StoredRobot | undefined> {
  const { groups, createdAt, expiresAt, hash } =
    (await readRecord(objects, robotKey(name)))?.value ?? {}
  if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) return undefined
  // An end that cannot be read is not no end.
  if (expiresAt !== undefined && typeof expiresAt !== 'number') return undefined
  return {
    name,
    hash,
    groups: Array.isArray(groups) ? groups.filter(group => typeof group === 'string') : [],
    createdAt: typeof createdAt === 'number' ? createdAt : 0,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
