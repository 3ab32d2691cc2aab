import { waitForEnd } from '../../layerfs/runtime/container-control.ts'
import { openStore } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'
import { eachContainer } from './each-container.ts'

export const waitCommand: Command = defineCommand({
  name: 'wait',
  usage: 'CONTAINER...',
  summary: 'Wait until containers have ended, and print their exit codes',
  examples: ['wait job'],
  flags: {},
  arity: { min: 1 },
  run: async ({ args, ...context }) => {
    await using store = await openStore(context.environment.root)
    // A prune need not wait until they end.
    store.letGo()
    const options = { context, store, line: String }
    return await eachContainer(args, options, container =>
      waitForEnd(store.containers, container, context),
    )
  },
})
