/**
 * What a container uses of the machine: counted by its cgroups where they count it, and else summed
 * over its processes, so that it is told also where version 1 has the controllers and no limit was
 * asked for.
 */
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { hasCode } from '../../oci/errors.ts'
import type { ContainerCgroup } from '../oci-runtime/freezer.ts'
import type { Container } from './container-list.ts'
import { containerProcesses, firstProcess, ownCgroup } from './container-processes.ts'

export interface Usage {
  /** Of the processors, so far. */
  readonly cpuMicroseconds: number
  /** Bytes, as all below; without what the kernel could drop at once. */
  readonly memory: number
  /** Its limit, or the machine's memory. */
  readonly memoryLimit: number
  readonly network: { readonly received: number; readonly sent: number }
  readonly disks: { readonly read: number; readonly written: number }
  readonly processes: number
}

/** Throws `conflict` when it does not run. */
export function containerUsage(container: Container): Usage {
  const pid = firstProcess(container, 'measure')
  const cgroup = ownCgroup(pid)
  const all = containerProcesses(container, 'measure').map(processUsage)
  const sum = (of: (usage: ProcessUsage) => number) =>
    all.reduce((total, usage) => total + (usage === undefined ? 0 : of(usage)), 0)
  return {
    cpuMicroseconds: cpuOf(cgroup) ?? sum(usage => usage.cpuMicroseconds),
    memory: memoryOf(cgroup) ?? sum(usage => usage.memory),
    memoryLimit: memoryLimitOf(cgroup),
    network: networkOf(pid),
    disks: { read: sum(usage => usage.read), written: sum(usage => usage.written) },
    processes: sum(usage => usage.threads),
  }
}

function cpuOf({ unified }: ContainerCgroup): number | undefined {
  return unified === undefined
    ? undefined
    : numberIn(join(unified, 'cpu.stat'), /^usage_usec (\d+)/m)
}

function memoryOf({ unified, classic }: ContainerCgroup): number | undefined {
  const places = [
    [unified, 'memory.current', /^inactive_file (\d+)/m],
    [classic['memory'], 'memory.usage_in_bytes', /^total_inactive_file (\d+)/m],
  ] as const
  for (const [directory, file, droppable] of places) {
    const used = directory && numberIn(join(directory, file), /^(\d+)/)
    if (used === undefined || used === '') continue
    const dropped = numberIn(join(directory as string, 'memory.stat'), droppable) ?? 0
    return Math.max(0, used - dropped)
  }
  return undefined
}

function memoryLimitOf({ unified, classic }: ContainerCgroup): number {
  const limits = [
    unified && numberIn(join(unified, 'memory.max'), /^(\d+)/),
    classic['memory'] && numberIn(join(classic['memory'], 'memory.limit_in_bytes'), /^(\d+)/),
  ]
  return Math.min(totalmem(), ...limits.filter(limit => typeof limit === 'number'))
}

/** Of all interfaces but the loopback device. */
function networkOf(pid: number): Usage['network'] {
  let [received, sent] = [0, 0]
  for (const line of textOf(`/proc/${pid}/net/dev`)?.split('\n') ?? []) {
    const [, name, counts = ''] = /^\s*([^:]+):\s*(.*)$/.exec(line) ?? []
    if (name === undefined || name === 'lo') continue
    const numbers = counts.split(/\s+/).map(Number)
    received += numbers[0] ?? 0
    sent += numbers[8] ?? 0
  }
  return { received, sent }
}

interface ProcessUsage {
  readonly cpuMicroseconds: number
  readonly memory: number
  readonly threads: number
  readonly read: number
  readonly written: number
}

const pageSize = 4096
const microsecondsPerTick = 10_000

/** `undefined` for one that has ended meanwhile. */
function processUsage(pid: number): ProcessUsage | undefined {
  const stat = textOf(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  // After the name, which may have anything in it.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const [user = 0, system = 0] = fields.slice(11)
  return {
    cpuMicroseconds: (user + system) * microsecondsPerTick,
    threads: fields[17] ?? 0,
    memory: (fields[21] ?? 0) * pageSize,
    read: numberIn(`/proc/${pid}/io`, /^read_bytes: (\d+)/m) ?? 0,
    written: numberIn(`/proc/${pid}/io`, /^write_bytes: (\d+)/m) ?? 0,
  }
}

function numberIn(path: string, pattern: RegExp): number | undefined {
  const found = pattern.exec(textOf(path) ?? '')?.[1]
  return found === undefined ? undefined : Number(found)
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    const gone = ['ENOENT', 'ESRCH', 'EACCES', 'ENODEV'] as const
    if (gone.some(code => hasCode(error, code))) return undefined
    throw error
  }
}
