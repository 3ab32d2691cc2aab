/** The commands about builds that were, and about their steps. */
import type { CommandEntry } from '../../program.ts'

const group = 'Building'

export const historyCommands: readonly CommandEntry[] = [
  {
    name: 'diff',
    summary: 'List what is different between two steps or images',
    group,
    asRoot: true,
    load: async () => (await import('../../tsrun/diff.ts')).diffCommand,
  },
  {
    name: 'shell',
    summary: 'Open a shell after any step of a Dockerfile',
    group,
    asRoot: true,
    load: async () => (await import('../shell/shell.ts')).shellCommand,
  },
  {
    name: 'why',
    summary: 'Tell for each step of a build why it ran, or that it was cached',
    group,
    asRoot: true,
    load: async () => (await import('./why.ts')).whyCommand,
  },
  {
    name: 'logs',
    aliases: ['history logs'],
    summary: 'Print the whole output of a build’s steps, or of one step',
    group,
    asRoot: true,
    load: async () => (await import('./logs.ts')).logsCommand,
  },
  {
    name: 'history',
    summary: 'List the builds whose steps and output are remembered, or forget some',
    group,
    asRoot: true,
    load: async () => (await import('./history.ts')).historyCommand,
  },
]
