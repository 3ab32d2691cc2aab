import { constants } from 'node:os'
import { stopContainer } from '../../layerfs/runtime/container-control.ts'
import type { Container } from '../../layerfs/runtime/container-list.ts'
import { openStore } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'
import type { FlagTable, FlagValues } from '../flags/flags.ts'
import { eachContainer } from './each-container.ts'
import { signalNumber } from './signal-number.ts'

const defaultTimeout = 10

export const stopFlags = {
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
} as const satisfies FlagTable

/** What the user says, else the container, else docker. */
export function stopWishesOf(
  { record }: Container,
  { time, signal }: FlagValues<typeof stopFlags>,
): { readonly stopSignal: number; readonly timeoutMs: number } {
  const { stopSignal = constants.signals.SIGTERM, stopTimeout } = record ?? {}
  const seconds = time ?? stopTimeout ?? defaultTimeout
  return {
    stopSignal: signal === undefined ? stopSignal : signalNumber(signal),
    timeoutMs: seconds < 0 ? Number.POSITIVE_INFINITY : seconds * 1000,
  }
}

export const stopCommand: Command = defineCommand({
  name: 'stop',
  usage: '[FLAGS] CONTAINER...',
  summary: 'Ask containers to end, and end them if they do not',
  examples: ['stop web', 'stop -t 30 db'],
  flags: stopFlags,
  arity: { min: 1 },
  run: async ({ flags, args, ...context }) => {
    if (flags.signal !== undefined) signalNumber(flags.signal)
    await using store = await openStore(context.environment.root)
    store.letGo()
    return await eachContainer(args, { context, store }, async container => {
      await stopContainer(store.containers, container, {
        ...stopWishesOf(container, flags),
        signal: context.signal,
      })
    })
  },
})
