import { describe, expect, test } from 'vitest'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import {
  cgroupSettings,
  cpuWeight,
  unifiedIoWeight,
} from '../../src/layerfs/sandbox/cgroup-settings.ts'
import type { Limits } from '../../src/layerfs/sandbox/spec.ts'

function files(limits: Limits): Record<'v1' | 'v2', string[]> {
  const settings = cgroupSettings(limits)
  const lines = (version: 'v1' | 'v2') =>
    settings.flatMap(setting => setting[version].map(({ file, value }) => `${file} ${value}`))
  return { v1: lines('v1'), v2: lines('v2') }
}

describe('cgroupSettings()', () => {
  test('has nothing to set without limits', () => {
    expect(cgroupSettings({})).toEqual([])
    expect(cgroupSettings({ memorySwap: 1 })).toEqual([])
  })

  test('I/O: one file for each rate in version 1, one for all in version 2', () => {
    const disk = { major: 8, minor: 16 }
    const ioRates = [
      { ...disk, kind: 'read-bps', rate: 1000 },
      { ...disk, kind: 'write-iops', rate: 5 },
    ] as const
    expect(files({ ioWeight: 500, ioRates })).toEqual({
      v1: [
        'blkio.weight 500',
        'blkio.throttle.read_bps_device 8:16 1000',
        'blkio.throttle.write_iops_device 8:16 5',
      ],
      v2: ['io.weight 4950', 'io.max 8:16 rbps=1000', 'io.max 8:16 wiops=5'],
    })
    expect([10, 1000].map(unifiedIoWeight)).toEqual([1, 10_000])
  })

  test('memory: as much again in swap, which version 1 counts together', () => {
    expect(files({ memory: 100 })).toEqual({
      v1: ['memory.limit_in_bytes 100', 'memory.memsw.limit_in_bytes 200'],
      v2: ['memory.max 100', 'memory.swap.max 100'],
    })
    const [setting] = cgroupSettings({ memory: 100 })
    expect(setting?.v2.map(({ need }) => need)).toEqual([undefined, 'optional'])
  })

  test('memory and swap, once asked for, are no option any more', () => {
    expect(files({ memory: 100, memorySwap: 150 })).toEqual({
      v1: ['memory.limit_in_bytes 100', 'memory.memsw.limit_in_bytes 150'],
      v2: ['memory.max 100', 'memory.swap.max 50'],
    })
    expect(files({ memory: 100, memorySwap: 'unlimited' })).toMatchObject({
      v1: ['memory.limit_in_bytes 100', 'memory.memsw.limit_in_bytes -1'],
      v2: ['memory.max 100', 'memory.swap.max max'],
    })
    const [setting] = cgroupSettings({ memory: 100, memorySwap: 100 })
    expect(setting?.v1.some(value => 'need' in value)).toBe(false)
  })

  test('a reservation, CPUs, shares, a set of CPUs, processes', () => {
    expect(
      files({ memoryReservation: 5, cpus: 1.5, cpuShares: 512, cpuset: '0-1', pids: 9 }),
    ).toEqual({
      v1: [
        'memory.soft_limit_in_bytes 5',
        'cpu.cfs_period_us 100000',
        'cpu.cfs_quota_us 150000',
        'cpu.shares 512',
        'cpuset.cpus 0-1',
        'pids.max 9',
      ],
      v2: [
        'memory.low 5',
        'cpu.max 150000 100000',
        'cpu.weight 59',
        'cpuset.cpus 0-1',
        'pids.max 9',
      ],
    })
  })
})

test.each([
  [0, 1],
  [2, 1],
  [512, 59],
  [1024, 100],
  [2048, 174],
  [262_144, 10_000],
  [1_000_000, 10_000],
])('cpuWeight(%i) is %i', (shares, weight) => {
  expect(cpuWeight(shares)).toBe(weight)
})

describe('cgroupHierarchies()', () => {
  test('of a machine with version 2 alone', () => {
    const line = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate'
    expect(cgroupHierarchies(line)).toEqual({ v2: '/sys/fs/cgroup', v1: {} })
  })

  test('of a hybrid, with a path that needs quoting', () => {
    const lines = [
      '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
      '33 31 0:30 / /mnt/a\\040b rw - cgroup cgroup rw,memory',
      '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
      'no mount at all',
    ]
    expect(cgroupHierarchies(lines.join('\n'))).toMatchObject({
      v2: '/sys/fs/cgroup/unified',
      v1: { cpu: '/sys/fs/cgroup/cpu,cpuacct', memory: '/mnt/a b' },
    })
  })
})
