/** How a bundle's process is scheduled, in the kernel's numbers: native/sandbox/scheduling.c. Pure. */
import { asArray, field, type JsonNode, member, mismatch, optional } from '../../oci/json.ts'
import type { Operation } from '../sandbox/operation-words.ts'
import { asInteger, asMember, asText, listOf } from './json-values.ts'

export interface Scheduler {
  readonly policy: keyof typeof policies
  readonly flags: number
  readonly nice: number
  readonly priority: number
  /** Nanoseconds. */
  readonly runtime: number
  readonly deadline: number
  readonly period: number
}

export interface IoPriority {
  readonly class: keyof typeof ioClasses
  readonly priority: number
}

/** Of CPUs or of memory nodes. */
export interface NumberSet {
  /** `0-3,7`. */
  readonly text: string
  readonly bits: Uint8Array
}

/** Of a process that joins a container. */
export interface CpuAffinity {
  /** Before it enters the container's cgroup. */
  readonly initial?: NumberSet
  readonly final?: NumberSet
}

export interface MemoryPolicy {
  readonly mode: keyof typeof memoryModes
  readonly flags: number
  readonly nodes?: NumberSet
}

const policies = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_ISO: 4,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
} as const

const schedulerFlags = {
  SCHED_FLAG_RESET_ON_FORK: 0x01,
  SCHED_FLAG_RECLAIM: 0x02,
  SCHED_FLAG_DL_OVERRUN: 0x04,
  SCHED_FLAG_KEEP_POLICY: 0x08,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
} as const

const ioClasses = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 } as const

export const memoryModes = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
} as const

export const memoryFlags = {
  MPOL_F_STATIC_NODES: 1 << 15,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_NUMA_BALANCING: 1 << 13,
} as const

/** The one that is missing belongs to who listens for a filter's questions: SCMP_ACT_NOTIFY. */
export const filterFlags = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
} as const

/** PER_LINUX and PER_LINUX32. */
const domains = { LINUX: 0, LINUX32: 8 } as const

const names = <T extends object>(table: T) => Object.keys(table) as (keyof T & string)[]

/** What the kernel would pass over is refused: a setting that another policy alone has. */
export function schedulerFrom(node: JsonNode): Scheduler {
  const policy = asMember(member(node, 'policy'), names(policies))
  const number = (key: string, parse = asInteger) => optional(member(node, key), parse) ?? 0
  const scheduler: Scheduler = {
    policy,
    flags: flagsFrom(member(node, 'flags'), schedulerFlags),
    nice: number('nice', niceFrom),
    priority: number('priority', asCount),
    runtime: number('runtime', asCount),
    deadline: number('deadline', asCount),
    period: number('period', asCount),
  }
  const owners: readonly [keyof Scheduler, readonly string[]][] = [
    ['nice', ['SCHED_OTHER', 'SCHED_BATCH']],
    ['priority', ['SCHED_FIFO', 'SCHED_RR']],
    ...(['runtime', 'deadline', 'period'] as const).map(
      key => [key, ['SCHED_DEADLINE']] as [keyof Scheduler, string[]],
    ),
  ]
  for (const [key, having] of owners) {
    if (scheduler[key] === 0 || having.includes(policy)) continue
    throw mismatch(member(node, key), `none, as ${policy} has no such thing`)
  }
  return scheduler
}

function niceFrom(node: JsonNode): number {
  const nice = asInteger(node)
  if (nice < -20 || nice > 19) throw mismatch(node, 'a nice value from -20 to 19')
  return nice
}

function asCount(node: JsonNode): number {
  const count = asInteger(node)
  if (count < 0) throw mismatch(node, 'a whole number ≥ 0')
  return count
}

function flagsFrom(node: JsonNode, bits: Readonly<Record<string, number>>): number {
  return listOf(node, asArray, flag => bits[asMember(flag, names(bits))] ?? 0).reduce(
    (sum, bit) => sum | bit,
    0,
  )
}

export function ioPriorityFrom(node: JsonNode): IoPriority {
  const priority = asInteger(member(node, 'priority'))
  if (priority < 0 || priority > 7) {
    throw mismatch(member(node, 'priority'), 'a priority from 0 to 7')
  }
  return { class: asMember(member(node, 'class'), names(ioClasses)), priority }
}

export function affinityFrom(node: JsonNode): CpuAffinity {
  return {
    ...field('initial', setFrom(member(node, 'initial'), maxCpu)),
    ...field('final', setFrom(member(node, 'final'), maxCpu)),
  }
}

export function memoryPolicyFrom(node: JsonNode): MemoryPolicy {
  return {
    mode: asMember(member(node, 'mode'), names(memoryModes)),
    flags: flagsFrom(member(node, 'flags'), memoryFlags),
    ...field('nodes', setFrom(member(node, 'nodes'), maxNode)),
  }
}

/** The domain; the specification has no flags. */
export function personalityFrom(node: JsonNode): keyof typeof domains {
  const [flag] = optional(member(node, 'flags'), asArray) ?? []
  if (flag !== undefined) throw mismatch(flag, 'no flags: the specification has none')
  return asMember(member(node, 'domain'), names(domains))
}

/** As many as native/sandbox/scheduling.c has room for. */
const [maxCpu, maxNode] = [8191, 1023]

/** `undefined` for an empty list. Throws `invalid` for what is no list or too large. */
function setFrom(node: JsonNode, largest: number): NumberSet | undefined {
  const expected = `a list of numbers up to ${largest}, like "0-3,7"`
  const text = optional(node, asText) ?? ''
  if (text === '') return undefined
  const numbers = text.split(',').flatMap(part => {
    const [, from = '', to = from] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? []
    const [first, last] = [Number(from), Number(to)]
    if (from === '' || last < first || last > largest) throw mismatch(node, expected)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
  const bits = new Uint8Array((Math.max(...numbers) >> 3) + 1)
  for (const number of numbers) bits[number >> 3] = (bits[number >> 3] ?? 0) | (1 << (number & 7))
  return { text, bits }
}

export interface Scheduling {
  readonly scheduler?: Scheduler
  readonly ioPriority?: IoPriority
  readonly execCpuAffinity?: CpuAffinity
}

/** The last is heeded by who joins alone. */
export function schedulingOperations(process: Scheduling): Operation[] {
  const { scheduler, ioPriority, execCpuAffinity = {} } = process
  const cpus = (['initial', 'final'] as const).flatMap(when => {
    const set = execCpuAffinity[when]
    return set === undefined ? [] : [['cpus', when, set.bits, set.text] as const]
  })
  return [...cpus, ...ioOperations(ioPriority), ...schedulerOperations(scheduler)]
}

function ioOperations(priority: IoPriority | undefined): Operation[] {
  if (priority === undefined) return []
  return [['io-priority', ioClasses[priority.class], priority.priority, priority.class]]
}

function schedulerOperations(scheduler: Scheduler | undefined): Operation[] {
  if (scheduler === undefined) return []
  const { policy, flags, nice, priority, runtime, deadline, period } = scheduler
  return [
    [
      'scheduler',
      ...[policies[policy], flags, nice + 20, priority, runtime, deadline, period],
      policy,
    ],
  ]
}

/** What of `linux` holds for each of the container's processes. */
export interface CommonSettings {
  readonly memoryPolicy?: MemoryPolicy
  readonly personality?: keyof typeof domains
  /** SECCOMP_FILTER_FLAG_*. */
  readonly filterFlags: number
}

export function commonOperations(common: CommonSettings): Operation[] {
  const { memoryPolicy, personality, filterFlags } = common
  return [
    ...(filterFlags === 0 ? [] : [['filter-flags', filterFlags] as const]),
    ...(memoryPolicy === undefined
      ? []
      : [
          [
            'memory-policy',
            memoryModes[memoryPolicy.mode] | memoryPolicy.flags,
            memoryPolicy.nodes?.bits ?? '',
            memoryPolicy.mode,
          ] as const,
        ]),
    ...(personality === undefined ? [] : [['personality', domains[personality]] as const]),
  ]
}

/** Throws `invalid` with the path of the field; `node` is `linux` of a bundle. */
export function commonFrom(node: JsonNode): CommonSettings {
  const seccomp = member(node, 'seccomp')
  const hasFilter = seccomp.value !== undefined && seccomp.value !== null
  return {
    filterFlags: hasFilter ? flagsFrom(member(seccomp, 'flags'), filterFlags) : 0,
    ...field('memoryPolicy', optional(member(node, 'memoryPolicy'), memoryPolicyFrom)),
    ...field('personality', optional(member(node, 'personality'), personalityFrom)),
  }
}
