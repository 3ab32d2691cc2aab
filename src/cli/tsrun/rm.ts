import { findContainer, listContainers } from '../../layerfs/runtime/container-list.ts'
import { openStore } from '../../layerfs/store.ts'
import { hasCode } from '../../oci/errors.ts'
import { type Command, defineCommand } from '../command.ts'
import { reportFailure } from '../report-failure.ts'

export const rmCommand: Command = defineCommand({
  name: 'rm',
  usage: '[FLAGS] CONTAINER...',
  summary: 'Remove containers that have ended',
  examples: ['rm 3f2a9c', 'rm $({program} ps -aq)'],
  flags: {
    force: { kind: 'boolean', short: 'f', help: 'Ignore containers that do not exist' },
  },
  unsupported: { volumes: { short: 'v' }, link: { short: 'l' } },
  arity: { min: 1 },
  run: async ({ flags, args, stdout, ...context }) => {
    await using store = await openStore(context.environment.root)
    const containers = await listContainers(store.containers)
    let code = 0
    for (const text of args) {
      try {
        await store.containers.remove(findContainer(containers, text).id)
        stdout.write(`${text}\n`)
      } catch (error) {
        if (flags.force && hasCode(error, 'not-found')) continue
        code = reportFailure(error, { program: { name: 'tsrun' }, command: undefined, ...context })
      }
    }
    return code
  },
})
