/** The runtime's commands: each is loaded when it runs. */
import type { RuntimeCommand } from './runtime-command.ts'

export interface RuntimeEntry {
  readonly usage: string
  readonly summary: string
  load(): Promise<RuntimeCommand>
}

export const runtimeCommands: ReadonlyMap<string, RuntimeEntry> = new Map(
  Object.entries({
    create: {
      usage: 'create [FLAGS] ID',
      summary: 'Create a container of a bundle; its process waits for "start"',
      load: async () => (await import('./create.ts')).createCommand,
    },
    start: {
      usage: 'start ID',
      summary: 'Run the process of a created container',
      load: async () => (await import('./control.ts')).startCommand,
    },
    run: {
      usage: 'run [FLAGS] ID',
      summary: 'Create a container and start it; delete it when it ends',
      load: async () => (await import('./create.ts')).runCommand,
    },
    exec: {
      usage: 'exec [FLAGS] ID [COMMAND] [ARGUMENTS]',
      summary: 'Run another process in a container',
      load: async () => (await import('./exec.ts')).execCommand,
    },
    state: {
      usage: 'state ID',
      summary: 'Print the state of a container as JSON',
      load: async () => (await import('./inspect.ts')).stateCommand,
    },
    list: {
      usage: 'list [FLAGS]',
      summary: 'List containers',
      load: async () => (await import('./inspect.ts')).listCommand,
    },
    ps: {
      usage: 'ps [FLAGS] ID',
      summary: 'List the processes of a container',
      load: async () => (await import('./inspect.ts')).psCommand,
    },
    kill: {
      usage: 'kill [FLAGS] ID [SIGNAL]',
      summary: 'Send a signal to the process of a container; SIGTERM unless given',
      load: async () => (await import('./control.ts')).killCommand,
    },
    pause: {
      usage: 'pause ID',
      summary: 'Freeze all processes of a container',
      load: async () => (await import('./control.ts')).pauseCommand,
    },
    resume: {
      usage: 'resume ID',
      summary: 'Let them go on',
      load: async () => (await import('./control.ts')).resumeCommand,
    },
    update: {
      usage: 'update [FLAGS] ID',
      summary: 'Change the limits of a container',
      load: async () => (await import('./update.ts')).updateCommand,
    },
    delete: {
      usage: 'delete [FLAGS] ID',
      summary: 'Remove a container that has ended, with what it has left',
      load: async () => (await import('./control.ts')).deleteCommand,
    },
    features: {
      usage: 'features',
      summary: 'Print what this runtime knows as JSON',
      load: async () => (await import('./features.ts')).featuresCommand,
    },
  } satisfies Record<string, RuntimeEntry>),
)
