#!/bin/sh
// 2>/dev/null; exec node -- "$0" "$@"
// A shell reads the line above, Node does not: only with "--" does Node leave an --env-file that is
// meant for a container alone, and does not take NODE_OPTIONS for itself from it.
import { imageCommands } from './image/entries.ts'
import { runProgram } from './main.ts'

await runProgram({
  name: 'tsrun',
  summary: 'Runs containers, without a daemon.',
  examples: [
    'tsrun --rm -it busybox',
    'tsrun --rm -v .:/work -w /work node:22 npm test',
    'tsrun -d --name web -p 8080:80 nginx',
    'tsrun logs -f web',
  ],
  fallback: 'run',
  commands: [
    {
      name: 'run',
      aliases: ['container run'],
      summary: 'Run a command in a new container; the word itself may be left out',
      group: 'Containers',
      asRoot: true,
      load: async () => (await import('./tsrun/run.ts')).runCommand,
    },
    {
      name: 'ps',
      aliases: ['container ls', 'container list'],
      summary: 'List containers',
      group: 'Containers',
      load: async () => (await import('./tsrun/ps.ts')).psCommand,
    },
    {
      name: 'exec',
      aliases: ['container exec'],
      summary: 'Run another command in a container that runs',
      group: 'Containers',
      load: async () => (await import('./tsrun/exec.ts')).execCommand,
    },
    {
      name: 'logs',
      aliases: ['container logs'],
      summary: 'Print what a detached container wrote',
      group: 'Containers',
      load: async () => (await import('./tsrun/logs.ts')).logsCommand,
    },
    {
      name: 'stop',
      aliases: ['container stop'],
      summary: 'Ask containers to end, and end them if they do not',
      group: 'Containers',
      load: async () => (await import('./tsrun/stop.ts')).stopCommand,
    },
    {
      name: 'kill',
      aliases: ['container kill'],
      summary: 'Send containers a signal',
      group: 'Containers',
      load: async () => (await import('./tsrun/kill.ts')).killCommand,
    },
    {
      name: 'wait',
      aliases: ['container wait'],
      summary: 'Wait until containers have ended, and print their exit codes',
      group: 'Containers',
      load: async () => (await import('./tsrun/wait.ts')).waitCommand,
    },
    {
      name: 'rm',
      aliases: ['container rm'],
      summary: 'Remove containers',
      group: 'Containers',
      asRoot: true,
      load: async () => (await import('./tsrun/rm.ts')).rmCommand,
    },
    {
      name: 'diff',
      aliases: ['container diff', 'image diff'],
      summary: 'List what was added, changed and deleted',
      group: 'Containers',
      asRoot: true,
      load: async () => (await import('./tsrun/diff.ts')).diffCommand,
    },
    {
      name: 'export',
      aliases: ['container export'],
      summary: 'Write all files of a container or an image as a tar',
      group: 'Containers',
      asRoot: true,
      load: async () => (await import('./tsrun/export.ts')).exportCommand,
    },
    {
      name: 'oci',
      summary: 'Run bundles as an OCI runtime does: create, start, state, kill, delete, exec',
      group: 'Containers',
      load: async () => (await import('./tsrun/oci.ts')).ociCommand,
    },
    ...imageCommands,
  ],
})
