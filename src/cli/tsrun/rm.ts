import { killContainer } from '../../layerfs/runtime/container-control.ts'
import type { Container } from '../../layerfs/runtime/container-list.ts'
import { removeOwnVolumes } from '../../layerfs/runtime/volumes.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { hasCode } from '../../oci/errors.ts'
import { type Command, defineCommand } from '../command.ts'
import { eachContainer } from './each-container.ts'

export const rmCommand: Command = defineCommand({
  name: 'rm',
  usage: '[FLAGS] CONTAINER...',
  summary: 'Remove containers',
  examples: ['rm 3f2a9c', 'rm -f web', 'rm $({program} ps -aq)'],
  flags: {
    force: {
      kind: 'boolean',
      short: 'f',
      help: 'Kill those that run; ignore those that do not exist',
    },
    volumes: { kind: 'boolean', short: 'v', help: 'Also its volumes that have no name' },
  },
  unsupported: { link: { short: 'l' } },
  arity: { min: 1 },
  run: async ({ flags, args, ...context }) => {
    await using store = await openStore(context.environment.root)
    const options = { context, store, ignoresMissing: flags.force }
    return await eachContainer(args, options, async container => {
      if (flags.force) {
        await killContainer(store.containers, container, context.signal)
        await removeIfThere(store, container)
      } else {
        await store.containers.remove(container.id)
      }
      if (flags.volumes) await removeOwnVolumes(store, container.record)
    })
  },
})

/** One that was to be removed at its end is gone by now. */
async function removeIfThere(store: Store, { id }: Container): Promise<void> {
  try {
    await store.containers.remove(id)
  } catch (error) {
    if (!hasCode(error, 'not-found')) throw error
  }
}
