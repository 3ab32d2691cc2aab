/** `linux.resources` of a bundle, but for its devices, as the files of cgroups that set them. Pure. */
import {
  asArray,
  asBoolean,
  asObject,
  asSize,
  asStringMap,
  type JsonNode,
  member,
  mismatch,
  optional,
} from '../../oci/json.ts'
import { cpuWeight, type Setting, unifiedIoWeight, type Value } from '../sandbox/cgroup-settings.ts'
import { asInteger, asLimit, asText, refuse } from './json-values.ts'

/** Throws `invalid` with the path of the field, and `unsupported` for what we do not have. */
export function resourceSettings(node: JsonNode): Setting[] {
  if (node.value === undefined || node.value === null) return []
  const part = (key: string, from: (node: JsonNode) => Setting[]) =>
    optional(member(node, key), from) ?? []
  return [
    ...part('memory', memorySettings),
    ...part('cpu', cpuSettings),
    ...part('pids', pidsSettings),
    ...part('blockIO', blockSettings),
    ...part('hugepageLimits', pageSettings),
    ...part('network', networkSettings),
    ...part('rdma', rdmaSettings),
    ...part('unified', unifiedSettings),
  ].filter(({ v1, v2 }) => v1.length + v2.length > 0)
}

type Entry = readonly [file: string, value: string | number]

interface Builder {
  readonly setting: Setting
  /** `undefined`: that version has no such thing. */
  add(limit: string, v1: Entry | undefined, v2: Entry | undefined): void
}

function builder(
  controller: string,
  rest: Omit<Setting, 'controller' | 'v1' | 'v2'> = {},
): Builder {
  const [v1, v2]: [Value[], Value[]] = [[], []]
  return {
    setting: { controller, v1, v2, ...rest },
    add(limit, old, recent) {
      if (old !== undefined) v1.push({ file: old[0], value: old[1], limit })
      if (recent !== undefined) v2.push({ file: recent[0], value: recent[1], limit })
    },
  }
}

function memorySettings(node: JsonNode): Setting[] {
  const { setting, add } = builder('memory')
  const bytes = (key: string) => {
    const limit = optional(member(node, key), asLimit)
    // Go programs write the zero of a limit that nobody set.
    return limit === 0 ? undefined : limit
  }
  const [limit, both, reservation] = [bytes('limit'), bytes('swap'), bytes('reservation')]
  if (limit !== undefined) {
    add('memory', ['memory.limit_in_bytes', old(limit)], ['memory.max', recent(limit)])
  }
  if (both !== undefined) {
    const swap = both === 'unlimited' ? both : swapAlone(member(node, 'swap'), both, limit)
    add(
      'memory and swap',
      ['memory.memsw.limit_in_bytes', old(both)],
      ['memory.swap.max', recent(swap)],
    )
  }
  if (reservation !== undefined) {
    const entry: Entry = ['memory.soft_limit_in_bytes', old(reservation)]
    add('memory reservation', entry, ['memory.low', recent(reservation)])
  }
  const swappiness = optional(member(node, 'swappiness'), asSize)
  if (swappiness !== undefined) add('swappiness', ['memory.swappiness', swappiness], undefined)
  if (optional(member(node, 'disableOOMKiller'), asBoolean) === true) {
    add('the out-of-memory killer', ['memory.oom_control', 1], undefined)
  }
  return [setting]
}

const old = (limit: number | 'unlimited') => (limit === 'unlimited' ? -1 : limit)
const recent = (limit: number | 'unlimited') => (limit === 'unlimited' ? 'max' : limit)

/** Version 2 counts swap without memory. */
function swapAlone(node: JsonNode, both: number, memory: number | 'unlimited' | undefined): number {
  if (typeof memory !== 'number' || memory > both) {
    throw mismatch(node, 'a limit of memory and swap together, not below memory.limit')
  }
  return both - memory
}

const defaultPeriod = 100_000

function cpuSettings(node: JsonNode): Setting[] {
  const time = builder('cpu')
  const read = (key: string) => optional(member(node, key), asInteger) ?? 0
  const [shares, quota, period, burst] = [
    read('shares'),
    read('quota'),
    read('period'),
    read('burst'),
  ]
  if (shares > 0) time.add('CPU shares', ['cpu.shares', shares], ['cpu.weight', cpuWeight(shares)])
  if (period > 0) time.add('CPUs', ['cpu.cfs_period_us', period], undefined)
  if (quota !== 0) time.add('CPUs', ['cpu.cfs_quota_us', quota], undefined)
  if (quota !== 0 || period > 0) {
    const most = quota > 0 ? String(quota) : 'max'
    time.add('CPUs', undefined, ['cpu.max', `${most} ${period || defaultPeriod}`])
  }
  if (burst > 0) time.add('CPU burst', ['cpu.cfs_burst_us', burst], ['cpu.max.burst', burst])
  const idle = read('idle')
  if (idle !== 0) time.add('idle CPU time', ['cpu.idle', idle], ['cpu.idle', idle])
  const [realPeriod, realTime] = [read('realtimePeriod'), read('realtimeRuntime')]
  if (realPeriod > 0) time.add('real time', ['cpu.rt_period_us', realPeriod], undefined)
  if (realTime > 0) time.add('real time', ['cpu.rt_runtime_us', realTime], undefined)
  return [time.setting, cpusetSetting(node)]
}

function cpusetSetting(node: JsonNode): Setting {
  const { setting, add } = builder('cpuset', { inherited: ['cpuset.cpus', 'cpuset.mems'] })
  for (const key of ['cpus', 'mems'] as const) {
    const list = optional(member(node, key), asText) ?? ''
    if (list !== '') add(`the set of ${key}`, [`cpuset.${key}`, list], [`cpuset.${key}`, list])
  }
  return setting
}

function pidsSettings(node: JsonNode): Setting[] {
  const { setting, add } = builder('pids')
  const limit = optional(member(node, 'limit'), asInteger)
  const value = (limit ?? 0) < 0 ? 'max' : (limit ?? 0)
  if (limit !== undefined) add('processes', ['pids.max', value], ['pids.max', value])
  return [setting]
}

const throttles = [
  ['throttleReadBpsDevice', 'blkio.throttle.read_bps_device', 'rbps'],
  ['throttleWriteBpsDevice', 'blkio.throttle.write_bps_device', 'wbps'],
  ['throttleReadIOPSDevice', 'blkio.throttle.read_iops_device', 'riops'],
  ['throttleWriteIOPSDevice', 'blkio.throttle.write_iops_device', 'wiops'],
] as const

function blockSettings(node: JsonNode): Setting[] {
  for (const key of ['leafWeight']) refuse(node, key)
  const { setting, add } = builder('blkio', { unified: 'io' })
  const weight = optional(member(node, 'weight'), asSize) ?? 0
  if (weight > 0)
    add('I/O weight', ['blkio.weight', weight], ['io.weight', unifiedIoWeight(weight)])
  for (const device of optional(member(node, 'weightDevice'), asArray) ?? []) {
    const own = asSize(member(device, 'weight'))
    const name = deviceNumbers(device)
    add(
      'I/O weight',
      ['blkio.weight_device', `${name} ${own}`],
      ['io.weight', `${name} ${unifiedIoWeight(own)}`],
    )
  }
  for (const [key, file, word] of throttles) {
    for (const device of optional(member(node, key), asArray) ?? []) {
      const rate = asSize(member(device, 'rate'))
      const name = deviceNumbers(device)
      add('I/O rate', [file, `${name} ${rate}`], ['io.max', `${name} ${word}=${rate || 'max'}`])
    }
  }
  return [setting]
}

function deviceNumbers(node: JsonNode): string {
  return `${asSize(member(node, 'major'))}:${asSize(member(node, 'minor'))}`
}

function pageSettings(node: JsonNode): Setting[] {
  const { setting, add } = builder('hugetlb')
  for (const entry of asArray(node)) {
    const size = asText(member(entry, 'pageSize'))
    if (!/^[1-9]\d*[KMG]B$/.test(size))
      throw mismatch(member(entry, 'pageSize'), 'a size like "2MB"')
    const limit = asLimit(member(entry, 'limit'))
    add(
      'huge pages',
      [`hugetlb.${size}.limit_in_bytes`, old(limit)],
      [`hugetlb.${size}.max`, recent(limit)],
    )
  }
  return [setting]
}

function networkSettings(node: JsonNode): Setting[] {
  const [classes, priorities] = [builder('net_cls'), builder('net_prio')]
  const id = optional(member(node, 'classID'), asSize) ?? 0
  if (id !== 0) classes.add('the class of packets', ['net_cls.classid', id], undefined)
  for (const entry of optional(member(node, 'priorities'), asArray) ?? []) {
    const value = `${asText(member(entry, 'name'))} ${asSize(member(entry, 'priority'))}`
    priorities.add('the priority of packets', ['net_prio.ifpriomap', value], undefined)
  }
  return [classes.setting, priorities.setting]
}

function rdmaSettings(node: JsonNode): Setting[] {
  const { setting, add } = builder('rdma')
  for (const device of Object.keys(asObject(node))) {
    const entry = member(node, device)
    const words = [
      ['hca_handle', optional(member(entry, 'hcaHandles'), asSize)],
      ['hca_object', optional(member(entry, 'hcaObjects'), asSize)],
    ].flatMap(([name, count]) => (count === undefined ? [] : [`${name}=${count}`]))
    const line: Entry = ['rdma.max', [device, ...words].join(' ')]
    add('RDMA', line, line)
  }
  return [setting]
}

/** Files of version 2 as they are; one setting for each controller. */
function unifiedSettings(node: JsonNode): Setting[] {
  const settings = new Map<string, Value[]>()
  for (const [file, value] of Object.entries(asStringMap(node))) {
    const [controller = ''] = file.split('.')
    if (!/^[\w.]+$/.test(file) || controller === 'cgroup') {
      throw mismatch({ ...node, value: file }, 'a file of a controller of cgroup version 2')
    }
    const values = settings.get(controller) ?? []
    settings.set(controller, [...values, { file, value, limit: file }])
  }
  // No hierarchy of version 1 has such a name.
  return [...settings].map(([unified, v2]) => ({
    controller: `${unified} (2)`,
    unified,
    v1: [],
    v2,
  }))
}
