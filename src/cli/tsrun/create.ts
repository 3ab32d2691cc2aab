import { type Command, defineCommand } from '../command.ts'
import { containerFlags, unsupportedRunFlags } from './options/run-flags.ts'
import { exitCodeOf } from './run.ts'

export const createCommand: Command = defineCommand({
  name: 'create',
  usage: '[FLAGS] IMAGE [COMMAND] [ARGUMENTS]',
  summary: 'Make a container that "tsrun start" starts',
  examples: ['create --name web -p 8080:80 nginx', 'create -v data:/srv --name files busybox'],
  flags: containerFlags,
  unsupported: unsupportedRunFlags,
  positionals: 'first-ends-flags',
  arity: { min: 1 },
  exitCodeOf,
  run: async invocation => (await import('./run-image.ts')).createFromImage(invocation),
})
