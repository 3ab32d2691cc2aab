/** What config.json says, in the kernel's words. */
import { describe, expect, test } from 'vitest'
import { cgroupPath } from '../../../src/layerfs/oci-runtime/container-cgroup.ts'
import { allowedDevices } from '../../../src/layerfs/oci-runtime/device-access.ts'
import { parseMountOptions } from '../../../src/layerfs/oci-runtime/mount-options.ts'
import { resourceSettings } from '../../../src/layerfs/oci-runtime/resource-settings.ts'
import { defaultDeviceRules } from '../../../src/layerfs/sandbox/device-rules.ts'

const node = (value: unknown) => ({ document: 'bundle', path: 'resources', value })

describe('mount options', () => {
  const parse = (...options: string[]) => parseMountOptions(options, 'options')

  test('become attributes, propagation and data; the last word counts', () => {
    expect(parse('ro', 'nosuid', 'noexec', 'rslave', 'size=1m')).toMatchObject({
      ...{ set: 0x1 | 0x2 | 0x8, clear: 0, propagation: 1 << 19, data: ['size=1m'] },
    })
    expect(parse('ro', 'rw')).toMatchObject({ set: 0, clear: 1 })
    expect(parse('noatime', 'strictatime')).toMatchObject({ set: 0x20, clear: 0x70 })
    expect(parse('rbind', 'rro')).toMatchObject({ isBind: true, isRecursive: true, setBelow: 1 })
  })

  test('of the names of every object are no options of ours', () => {
    expect(parse('constructor', 'rtoString')).toMatchObject({
      data: ['constructor', 'rtoString'],
      propagation: 1 << 18,
    })
  })

  test('that say how it is mounted add up', () => {
    expect(parse('rbind', 'ridmap')).toMatchObject({ isRecursive: true, mapsIds: 'below' })
    expect(parse('remount', 'ro')).toMatchObject({ isRemount: true, isBind: false, set: 1 })
  })

  test('that are for mount(8) alone are refused', () => {
    expect(() => parse('x-mount.mkdir')).toThrow('option "x-mount.mkdir" is not supported')
  })
})

describe('rules for devices', () => {
  const allowed = (...devices: unknown[]) => allowedDevices(node({ devices }), [])
  const fuse = { allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' }

  test('start from nothing but what every container has', () => {
    expect(allowed()).toEqual(defaultDeviceRules)
    expect(allowed({ allow: false, access: 'rwm' }, fuse)).toEqual([
      ...defaultDeviceRules,
      { type: 'character', major: 10, minor: 229, access: 'rwm' },
    ])
  })

  test('can allow all, and take one away again', () => {
    expect(allowed({ allow: true, access: 'rwm' })).toBe('all')
    expect(allowed(fuse, { ...fuse, allow: false })).toEqual(defaultDeviceRules)
    expect(allowed(fuse, { allow: false })).toEqual(defaultDeviceRules)
  })

  test('that take a part of what is allowed away are refused, never passed over', () => {
    for (const rules of [
      [{ allow: true }, { ...fuse, allow: false }],
      [fuse, { ...fuse, allow: false, access: 'w' }],
    ]) {
      expect(() => allowed(...rules)).toThrow('resources.devices[1]: denying some devices')
    }
  })
})

describe('resources', () => {
  const files = (resources: unknown, version: 'v1' | 'v2') =>
    Object.fromEntries(
      resourceSettings(node(resources)).flatMap(setting =>
        setting[version].map(({ file, value }) => [file, value]),
      ),
    )

  test('are files of both versions of cgroups', () => {
    const resources = {
      memory: { limit: 64 << 20, swap: 96 << 20, reservation: 32 << 20 },
      cpu: { shares: 1024, quota: 50_000, period: 100_000, cpus: '0' },
      pids: { limit: -1 },
      unified: { 'memory.high': '1000000' },
    }
    expect(files(resources, 'v1')).toEqual({
      'memory.limit_in_bytes': 64 << 20,
      'memory.memsw.limit_in_bytes': 96 << 20,
      'memory.soft_limit_in_bytes': 32 << 20,
      'cpu.shares': 1024,
      'cpu.cfs_period_us': 100_000,
      'cpu.cfs_quota_us': 50_000,
      'cpuset.cpus': '0',
      'pids.max': 'max',
    })
    expect(files(resources, 'v2')).toEqual({
      'memory.max': 64 << 20,
      'memory.swap.max': 32 << 20,
      'memory.low': 32 << 20,
      'memory.high': '1000000',
      'cpu.weight': 100,
      'cpu.max': '50000 100000',
      'cpuset.cpus': '0',
      'pids.max': 'max',
    })
  })

  test('nobody asked for cost nothing', () => {
    expect(resourceSettings(node(undefined))).toEqual([])
    expect(resourceSettings(node({ memory: { limit: 0 }, cpu: {}, network: {} }))).toEqual([])
  })

  test.each([
    [{ memory: { limit: 'x' } }, 'resources.memory.limit'],
    [{ memory: { swap: 5 } }, 'resources.memory.swap'],
    [{ unified: { '../../x': '1' } }, 'resources.unified'],
    [
      { hugepageLimits: [{ pageSize: '../2MB', limit: 1 }] },
      'resources.hugepageLimits[0].pageSize',
    ],
  ])('%j is refused with its field', (resources, field) => {
    expect(() => resourceSettings(node(resources))).toThrow(field)
  })
})

describe('the path of a cgroup', () => {
  test('stays below the hierarchy', () => {
    expect(cgroupPath('/a/../../b', 'x')).toBe('/b')
    expect(cgroupPath(undefined, 'x')).toBe('/tsrun-oci/x')
    expect(() => cgroupPath('/..', 'x')).toThrow('is the root')
    expect(() => cgroupPath('a.slice:b:c', 'x')).toThrow('asks systemd')
  })
})
