import {
  type ContainerState,
  listStates,
  readState,
  specState,
  statusOf,
} from '../../layerfs/oci-runtime/state.ts'
import { defineRuntimeCommand, type RuntimeCommand } from './runtime-command.ts'

const format = {
  kind: 'choice',
  short: 'f',
  choices: ['table', 'json'],
  default: 'table',
  help: 'How it is printed',
} as const

export const stateCommand: RuntimeCommand = defineRuntimeCommand({
  flags: {},
  arity: { min: 1, max: 1 },
  run: async ({ root, id, print }) => {
    print(`${JSON.stringify(describe(root, readState(root, id)), null, 2)}\n`)
    return 0
  },
})

/** What the specification has, and what runc adds to it. */
function describe(root: string, state: ContainerState): Record<string, unknown> {
  const { rootfs, created, owner } = state
  return { ...specState(state, statusOf(root, state)), rootfs, created, owner }
}

export const listCommand: RuntimeCommand = defineRuntimeCommand({
  flags: { format, quiet: { kind: 'boolean', short: 'q', help: 'Only the ids' } },
  arity: { min: 0, max: 0 },
  run: async ({ root, flags, print }) => {
    const states = listStates(root)
    if (flags.quiet) print(states.map(({ id }) => `${id}\n`).join(''))
    else if (flags.format === 'json') {
      print(`${JSON.stringify(states.map(state => describe(root, state)))}\n`)
    } else {
      const rows = states.map(state => {
        const status = statusOf(root, state)
        const pid = status === 'stopped' ? '0' : String(state.pid)
        return [state.id, pid, status, state.bundle, state.created]
      })
      const { formatTable } = await import('../lists/table.ts')
      print(formatTable(['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED'], rows))
    }
    return 0
  },
})

export const psCommand: RuntimeCommand = defineRuntimeCommand({
  flags: { format },
  positionals: 'first-ends-flags',
  arity: { min: 1, max: 100 },
  run: async ({ root, id, flags, args, print }) => {
    const { listProcesses } = await import('../../layerfs/oci-runtime/lifecycle.ts')
    const pids = listProcesses(root, id)
    if (flags.format === 'json') {
      print(`${JSON.stringify(pids)}\n`)
      return 0
    }
    const { execFileSync } = await import('node:child_process')
    const words = args.length > 1 ? args.slice(1) : ['-ef']
    const [head = '', ...lines] = execFileSync('ps', words, { encoding: 'utf8' }).split('\n')
    const column = head.trim().split(/\s+/).indexOf('PID')
    const isOurs = (line: string) => pids.includes(Number(line.trim().split(/\s+/)[column]))
    print(`${[head, ...lines.filter(isOurs)].join('\n')}\n`)
    return 0
  },
})
