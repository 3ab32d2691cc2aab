import {
  deleteContainer,
  killContainer,
  pauseContainer,
  startContainer,
} from '../../layerfs/oci-runtime/lifecycle.ts'
import { signalNumber } from '../tsrun/signal-number.ts'
import { defineRuntimeCommand, type RuntimeCommand } from './runtime-command.ts'

const one = { min: 1, max: 1 } as const

export const startCommand: RuntimeCommand = defineRuntimeCommand({
  flags: {},
  arity: one,
  run: async ({ root, id }) => {
    await startContainer(root, id)
    return 0
  },
})

export const killCommand: RuntimeCommand = defineRuntimeCommand({
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'To all of its processes, also once it has ended' },
  },
  arity: { min: 1, max: 2 },
  run: async ({ root, id, flags, args }) => {
    killContainer({ root, id, all: flags.all }, signalNumber(args[1] ?? 'TERM'))
    return 0
  },
})

export const pauseCommand: RuntimeCommand = defineRuntimeCommand({
  flags: {},
  arity: one,
  run: async ({ root, id }) => {
    pauseContainer(root, id, true)
    return 0
  },
})

export const resumeCommand: RuntimeCommand = defineRuntimeCommand({
  flags: {},
  arity: one,
  run: async ({ root, id }) => {
    pauseContainer(root, id, false)
    return 0
  },
})

export const deleteCommand: RuntimeCommand = defineRuntimeCommand({
  flags: {
    force: { kind: 'boolean', short: 'f', help: 'Also one that runs, which is killed' },
  },
  arity: one,
  run: async ({ root, id, flags, warn }) => {
    for (const warning of await deleteContainer(root, id, flags)) warn(warning)
    return 0
  },
})
