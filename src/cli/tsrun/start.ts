import { stopContainer } from '../../layerfs/runtime/container-control.ts'
import type { Container } from '../../layerfs/runtime/container-list.ts'
import { startAgain } from '../../layerfs/runtime/start-container.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { type CliContext, type Command, defineCommand } from '../command.ts'
import { assertRoot } from '../privileges.ts'
import { eachContainer } from './each-container.ts'
import { stopFlags, stopWishesOf } from './stop.ts'

export const startCommand: Command = defineCommand({
  name: 'start',
  usage: 'CONTAINER...',
  summary: 'Start containers that were created, or have ended',
  examples: ['start web'],
  flags: {},
  unsupported: {
    attach: { short: 'a', reason: 'Read what it writes with "tsrun logs -f"' },
    interactive: { short: 'i', reason: 'A container that is started again has no input' },
    checkpoint: {},
    'checkpoint-dir': {},
    'detach-keys': {},
  },
  arity: { min: 1 },
  run: async ({ args, ...context }) => {
    assertRoot('start a container')
    await using store = await openStore(context.environment.root)
    return await eachContainer(args, { context, store }, container =>
      again(store, container, context),
    )
  },
})

export const restartCommand: Command = defineCommand({
  name: 'restart',
  usage: '[FLAGS] CONTAINER...',
  summary: 'Stop containers, and start them again',
  examples: ['restart web', 'restart -t 30 db'],
  flags: stopFlags,
  arity: { min: 1 },
  run: async ({ flags, args, ...context }) => {
    assertRoot('start a container')
    await using store = await openStore(context.environment.root)
    return await eachContainer(args, { context, store }, async container => {
      await stopContainer(store.containers, container, {
        ...stopWishesOf(container, flags),
        signal: context.signal,
      })
      await again(store, { ...container, isRunning: false }, context)
    })
  },
})

async function again(store: Store, container: Container, context: CliContext): Promise<void> {
  await startAgain(store, container, {
    signal: context.signal,
    now: () => new Date(),
  })
}
