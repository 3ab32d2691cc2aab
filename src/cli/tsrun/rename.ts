import { findContainer, listContainers } from '../../layerfs/runtime/container-list.ts'
import { renameContainer } from '../../layerfs/runtime/container-name.ts'
import { openStore } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'

export const renameCommand: Command = defineCommand({
  name: 'rename',
  usage: 'CONTAINER NAME',
  summary: 'Give a container another name',
  examples: ['rename web old-web'],
  flags: {},
  arity: { min: 2, max: 2 },
  run: async ({ args: [text = '', name = ''], environment }) => {
    await using store = await openStore(environment.root)
    await renameContainer(store, findContainer(await listContainers(store.containers), text), name)
    return 0
  },
})
