import { setPaused } from '../../layerfs/runtime/container-processes.ts'
import { openStore } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'
import { eachContainer } from './each-container.ts'

export const pauseCommand: Command = stateCommand('paused', {
  name: 'pause',
  summary: 'Stop all processes of containers where they are',
  examples: ['pause web'],
})

export const unpauseCommand: Command = stateCommand('running', {
  name: 'unpause',
  summary: 'Let paused containers go on',
  examples: ['unpause web'],
})

function stateCommand(
  wanted: 'paused' | 'running',
  words: { readonly name: string; readonly summary: string; readonly examples: readonly string[] },
): Command {
  return defineCommand({
    ...words,
    usage: 'CONTAINER...',
    flags: {},
    arity: { min: 1 },
    run: async ({ args, ...context }) => {
      await using store = await openStore(context.environment.root)
      store.letGo()
      return await eachContainer(args, { context, store }, async container =>
        setPaused(container, wanted),
      )
    },
  })
}
