/**
 * Limits as the files of cgroups that set them, in version 1 and version 2. Pure.
 */
import type { Limits } from './spec.ts'

/** By its name in version 1. */
export type Controller = string

/** What one controller is to be told. */
export interface Setting {
  readonly controller: Controller
  /** Its name in version 2, where that is another. */
  readonly unified?: string
  /** In order. */
  readonly v1: readonly Value[]
  readonly v2: readonly Value[]
  /** Files that a new directory of version 1 has empty, and takes from the one above it. */
  readonly inherited?: readonly string[]
}

export interface Value {
  readonly file: string
  readonly value: number | string
  /** In words, for an error. */
  readonly limit: string
  /** Nobody asked for it: a kernel without it is no error. */
  readonly need?: 'optional'
}

/** One setting for each controller that `limits` needs. */
export function cgroupSettings(limits: Limits): Setting[] {
  const settings = [
    memorySetting(limits),
    cpuSetting(limits),
    cpusetSetting(limits),
    pidsSetting(limits),
    ioSetting(limits),
  ]
  return settings.filter(({ v1 }) => v1.length > 0)
}

function memorySetting({ memory, memorySwap, memoryReservation }: Limits): Setting {
  const v1: Value[] = []
  const v2: Value[] = []
  const add = (limit: string, [old, recent]: readonly [Named, Named], need?: 'optional') => {
    const common = { limit, ...(need === undefined ? {} : { need }) }
    v1.push({ file: old[0], value: old[1], ...common })
    v2.push({ file: recent[0], value: recent[1], ...common })
  }
  if (memory !== undefined) {
    add('memory', [
      ['memory.limit_in_bytes', memory],
      ['memory.max', memory],
    ])
    // As much again in swap, as Docker. Version 1 counts both together, version 2 swap alone.
    const both = memorySwap ?? 2 * memory
    const name = 'memory and swap'
    const need = memorySwap === undefined ? 'optional' : undefined
    add(
      name,
      [
        ['memory.memsw.limit_in_bytes', both === 'unlimited' ? -1 : both],
        ['memory.swap.max', both === 'unlimited' ? 'max' : both - memory],
      ],
      need,
    )
  }
  if (memoryReservation !== undefined) {
    add('memory reservation', [
      ['memory.soft_limit_in_bytes', memoryReservation],
      ['memory.low', memoryReservation],
    ])
  }
  return { controller: 'memory', v1, v2 }
}

type Named = readonly [file: string, value: number | string]

/** Microseconds over which `cpus` is measured. */
const cpuPeriod = 100_000

function cpuSetting({ cpus, cpuShares }: Limits): Setting {
  const v1: Value[] = []
  const v2: Value[] = []
  if (cpus !== undefined) {
    const quota = Math.round(cpus * cpuPeriod)
    const limit = 'CPUs'
    v1.push({ file: 'cpu.cfs_period_us', value: cpuPeriod, limit })
    v1.push({ file: 'cpu.cfs_quota_us', value: quota, limit })
    v2.push({ file: 'cpu.max', value: `${quota} ${cpuPeriod}`, limit })
  }
  if (cpuShares !== undefined) {
    const limit = 'CPU shares'
    v1.push({ file: 'cpu.shares', value: cpuShares, limit })
    v2.push({ file: 'cpu.weight', value: cpuWeight(cpuShares), limit })
  }
  return { controller: 'cpu', v1, v2 }
}

/**
 * Shares of version 1 (2 to 262144, usually 1024) as a weight of version 2 (1 to 10000, usually
 * 100): the curve that the OCI runtimes agreed on, which keeps both ends and the usual value.
 */
export function cpuWeight(shares: number): number {
  const bits = Math.log2(Math.min(Math.max(shares, 2), 262_144))
  const exponent = (bits * bits + 125 * bits) / 612 - 7 / 34
  return Math.min(10_000, Math.ceil(Number((10 ** exponent).toFixed(6))))
}

function cpusetSetting({ cpuset }: Limits): Setting {
  const values: Value[] =
    cpuset === undefined ? [] : [{ file: 'cpuset.cpus', value: cpuset, limit: 'the set of CPUs' }]
  const inherited = ['cpuset.cpus', 'cpuset.mems']
  return { controller: 'cpuset', v1: values, v2: values, inherited }
}

function pidsSetting({ pids }: Limits): Setting {
  const values: Value[] =
    pids === undefined ? [] : [{ file: 'pids.max', value: pids, limit: 'processes' }]
  return { controller: 'pids', v1: values, v2: values }
}

/** In version 2 one file has all rates of a disk, and a write changes only those it names. */
const rateFiles = {
  'read-bps': { file: 'blkio.throttle.read_bps_device', word: 'rbps' },
  'write-bps': { file: 'blkio.throttle.write_bps_device', word: 'wbps' },
  'read-iops': { file: 'blkio.throttle.read_iops_device', word: 'riops' },
  'write-iops': { file: 'blkio.throttle.write_iops_device', word: 'wiops' },
} as const

function ioSetting({ ioWeight, ioRates = [] }: Limits): Setting {
  const v1: Value[] = []
  const v2: Value[] = []
  if (ioWeight !== undefined) {
    const limit = 'the I/O weight'
    v1.push({ file: 'blkio.weight', value: ioWeight, limit })
    v2.push({ file: 'io.weight', value: unifiedIoWeight(ioWeight), limit })
  }
  for (const { major, minor, kind, rate } of ioRates) {
    const limit = `the I/O rate (${kind})`
    const { file, word } = rateFiles[kind]
    v1.push({ file, value: `${major}:${minor} ${rate}`, limit })
    v2.push({ file: 'io.max', value: `${major}:${minor} ${word}=${rate}`, limit })
  }
  return { controller: 'blkio', unified: 'io', v1, v2 }
}

/** From 10–1000 to 1–10000, as the OCI runtimes agreed. */
export function unifiedIoWeight(weight: number): number {
  return Math.max(1, Math.trunc(1 + ((weight - 10) * 9999) / 990))
}
