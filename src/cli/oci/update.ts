import { readFileSync } from 'node:fs'
import { updateContainer } from '../../layerfs/oci-runtime/update.ts'
import { usageError } from '../cli-error.ts'
import type { FlagTable, FlagValues } from '../flags/flags.ts'
import { defineRuntimeCommand, type RuntimeCommand } from './runtime-command.ts'

const updateFlags = {
  resources: {
    kind: 'string',
    short: 'r',
    value: 'FILE',
    help: 'Limits as in config.json; "-" for standard input',
  },
  memory: { kind: 'string', value: 'BYTES', help: 'Memory; -1 for no limit' },
  'memory-swap': { kind: 'string', value: 'BYTES', help: 'Memory and swap together' },
  'memory-reservation': { kind: 'string', value: 'BYTES', help: 'Memory that is left to it' },
  'cpu-share': { kind: 'integer', value: 'N', help: 'Weight when the CPUs are busy' },
  'cpu-period': { kind: 'integer', value: 'N', help: 'Microseconds over which time is measured' },
  'cpu-quota': { kind: 'integer', value: 'N', help: 'Microseconds of time in a period' },
  'cpu-burst': { kind: 'integer', value: 'N', help: 'Microseconds that may be saved up' },
  'cpuset-cpus': { kind: 'string', value: 'LIST', help: 'CPUs it may run on' },
  'cpuset-mems': { kind: 'string', value: 'LIST', help: 'Memory nodes it may use' },
  'pids-limit': { kind: 'integer', value: 'N', help: 'Processes; -1 for no limit' },
  'blkio-weight': { kind: 'integer', value: 'N', help: 'Weight of its I/O' },
} as const satisfies FlagTable

export const updateCommand: RuntimeCommand = defineRuntimeCommand({
  flags: updateFlags,
  unsupported: {
    'cpu-rt-period': {},
    'cpu-rt-runtime': {},
    'cpu-idle': {},
    'kernel-memory': {},
    'kernel-memory-tcp': {},
    'l3-cache-schema': {},
    'mem-bw-schema': {},
  },
  arity: { min: 1, max: 1 },
  run: async ({ root, id, flags }) => {
    updateContainer(root, id, resourcesOf(flags))
    return 0
  },
})

/** A file, or what the flags say, as the specification spells it. */
function resourcesOf(flags: FlagValues<typeof updateFlags>): Uint8Array {
  if (flags.resources === '-') return readFileSync(0)
  if (flags.resources !== undefined) return readFileSync(flags.resources)
  const resources = {
    memory: {
      limit: bytes(flags.memory),
      swap: bytes(flags['memory-swap']),
      reservation: bytes(flags['memory-reservation']),
    },
    cpu: {
      shares: flags['cpu-share'],
      period: flags['cpu-period'],
      quota: flags['cpu-quota'],
      burst: flags['cpu-burst'],
      cpus: flags['cpuset-cpus'],
      mems: flags['cpuset-mems'],
    },
    pids: flags['pids-limit'] === undefined ? undefined : { limit: flags['pids-limit'] },
    blockIO: { weight: flags['blkio-weight'] },
  }
  return Buffer.from(JSON.stringify(resources))
}

const units: Readonly<Record<string, number>> = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }

function bytes(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (text === '-1') return -1
  const [, digits = '', unit = 'b'] = /^(\d+)([bkmg])?b?$/i.exec(text) ?? []
  if (digits !== '') return Number(digits) * (units[unit.toLowerCase()] ?? 1)
  throw usageError(`Expected bytes, like 512m, or -1, got ${JSON.stringify(text)}`)
}
