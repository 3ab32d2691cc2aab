/** `tsregistry robot`: keys for machines, with an end. */

import { hasCode, OciError } from '../../oci/errors.ts'
import {
  createRobot,
  listRobots,
  parseRobotName,
  type Robot,
  revokeRobot,
} from '../../registry/server/access/robots.ts'
import type { ObjectStore } from '../../registry/storage/object-store.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { parseAs } from '../flags/flag-values.ts'
import { formatTable } from '../lists/table.ts'
import { openStorage, storageFlags, storagePlace } from './storage-place.ts'

export const robotCommand: Command = defineCommand({
  name: 'robot',
  usage: '[FLAGS] create|revoke NAME | list',
  summary: 'Make, list and revoke keys for machines',
  examples: [
    'tsregistry robot create ci --expires 720h --group builders',
    'tsregistry robot list',
    'tsregistry robot revoke ci',
  ],
  arity: { min: 1, max: 2 },
  flags: {
    ...storageFlags,
    expires: {
      kind: 'duration',
      value: 'TIME',
      help: 'When a new key ends; 0: never',
      default: 90 * 24 * 3600_000,
    },
    group: {
      kind: 'strings',
      value: 'NAME',
      help: 'Groups of policies that a new key is in',
    },
  } as const,
  run: async ({ flags, given, args, environment, stdout }) => {
    const [action = '', name] = args
    const isNamed = mustKnow(action)
    if (isNamed !== (name !== undefined)) {
      throw usageError(`"robot ${action}" takes ${isNamed ? 'a name' : 'no name'}`)
    }
    const robot = name === undefined ? '' : parseAs(`"${name}"`, () => parseRobotName(name))
    await using store = await openStorage(storagePlace(flags, given, environment))
    switch (action) {
      case 'create':
        stdout.write(`${await create(store.objects, robot, flags)}\n`)
        break
      case 'revoke':
        await revokeRobot(store.objects, robot)
        stdout.write(`robot+${robot} is revoked\n`)
        break
      default:
        stdout.write(tableOf(await listRobots(store.objects), Date.now()))
    }
    return 0
  },
})

function mustKnow(action: string): boolean {
  if (['create', 'revoke'].includes(action)) return true
  if (action === 'list') return false
  throw usageError(`Unknown action "${action}"`, 'Use create, revoke or list')
}

async function create(
  objects: ObjectStore,
  name: string,
  { expires, group }: { readonly expires: number; readonly group: readonly string[] },
): Promise<string> {
  const now = new Date()
  const end = expires === 0 ? {} : { expiresAt: now.getTime() + expires }
  try {
    return await createRobot(objects, { name, groups: group, ...end }, now)
  } catch (error) {
    if (!hasCode(error, 'conflict')) throw error
    throw new OciError('already-exists', `Cannot create robot "${name}": there is one`, {
      cause: error,
      hint: `Revoke it first: tsregistry robot revoke ${name}`,
    })
  }
}

function tableOf(robots: readonly Robot[], now: number): string {
  const rows = robots.map(({ name, groups, createdAt, expiresAt }) => [
    `robot+${name}`,
    groups.join(','),
    new Date(createdAt).toISOString(),
    expiresAt === undefined ? 'never' : new Date(expiresAt).toISOString(),
    expiresAt !== undefined && expiresAt <= now ? 'expired' : '',
  ])
  return formatTable(['USER', 'GROUPS', 'CREATED', 'EXPIRES', ''], rows)
}
