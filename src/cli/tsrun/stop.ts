import { constants } from 'node:os'
import { stopContainer } from '../../layerfs/runtime/container-control.ts'
import { openStore } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'
import { eachContainer } from './each-container.ts'
import { signalNumber } from './signal-number.ts'

const defaultTimeout = 10

export const stopCommand: Command = defineCommand({
  name: 'stop',
  usage: '[FLAGS] CONTAINER...',
  summary: 'Ask containers to end, and end them if they do not',
  examples: ['stop web', 'stop -t 30 db'],
  flags: {
    time: {
      kind: 'integer',
      short: 't',
      value: 'SECONDS',
      aliases: ['timeout'],
      help: `How long they may take, unless they were started with --stop-timeout: ${defaultTimeout}; -1 for ever`,
    },
    signal: {
      kind: 'string',
      short: 's',
      value: 'SIGNAL',
      help: 'What they get, instead of what they or their images say: SIGTERM',
    },
  },
  arity: { min: 1 },
  run: async ({ flags, args, ...context }) => {
    const wanted = flags.signal === undefined ? undefined : signalNumber(flags.signal)
    await using store = await openStore(context.environment.root)
    store.letGo()
    return await eachContainer(args, { context, store }, async container => {
      const { stopSignal, stopTimeout } = container.record ?? {}
      const seconds = flags.time ?? stopTimeout ?? defaultTimeout
      await stopContainer(store.containers, container, {
        stopSignal: wanted ?? stopSignal ?? constants.signals.SIGTERM,
        timeoutMs: seconds < 0 ? Number.POSITIVE_INFINITY : seconds * 1000,
        signal: context.signal,
      })
    })
  },
})
