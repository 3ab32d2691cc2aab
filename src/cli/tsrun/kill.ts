import { signalContainer } from '../../layerfs/runtime/container-control.ts'
import { openStore } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'
import { eachContainer } from './each-container.ts'
import { signalNumber } from './signal-number.ts'

export const killCommand: Command = defineCommand({
  name: 'kill',
  usage: '[FLAGS] CONTAINER...',
  summary: 'Send containers a signal',
  examples: ['kill web', 'kill -s HUP web'],
  flags: {
    signal: {
      kind: 'string',
      short: 's',
      value: 'SIGNAL',
      default: 'KILL',
      help: 'Name or number',
    },
  },
  arity: { min: 1 },
  run: async ({ flags, args, ...context }) => {
    const signal = signalNumber(flags.signal)
    await using store = await openStore(context.environment.root)
    return await eachContainer(args, { context, store }, async container =>
      signalContainer(container, signal),
    )
  },
})
