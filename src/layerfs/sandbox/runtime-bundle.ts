/** A spec as a bundle's config.json, for other runtimes. Its root and network are there already. Pure. */
import { maskedPaths, networkSysctls, readOnlyPaths } from './defaults.ts'
import { type DeviceRule, defaultDeviceRules } from './device-rules.ts'
import { deviceRuleOf } from './devices.ts'
import { defaultProfile } from './seccomp/default-profile.ts'
import type { Limits, SandboxSpec } from './spec.ts'

/** `name` is that of its cgroup. */
export function runtimeBundle(spec: SandboxSpec, name: string): Record<string, unknown> {
  const { security, hostname, domainname, shared = [] } = spec
  const isHidden = security.paths === 'default'
  const own = (['uts', 'ipc'] as const).filter(type => !shared.includes(type))
  return {
    ociVersion: '1.0.2',
    process: processOf(spec),
    root: { path: 'rootfs', readonly: isReadOnly(spec) },
    ...(own.includes('uts')
      ? { hostname, ...(domainname === undefined ? {} : { domainname }) }
      : {}),
    mounts: mountsOf(spec),
    linux: {
      namespaces: ['pid', 'mount', 'cgroup', ...own].map(type => ({ type })),
      cgroupsPath: `/tsbuild/${name}`,
      resources: { ...limitsOf(spec.limits), devices: devicesOf(spec) },
      devices: (spec.devices ?? []).map(nodeOf),
      sysctl: Object.fromEntries((spec.sysctls ?? []).filter(([key]) => !isOfNetwork(key))),
      maskedPaths: isHidden ? maskedPaths() : [],
      readonlyPaths: isHidden ? readOnlyPaths : [],
      ...(security.seccomp === 'default' ? { seccomp: defaultProfile(security.capabilities) } : {}),
    },
  }
}

function isReadOnly({ readOnly, root }: SandboxSpec): boolean {
  return readOnly || (root.kind === 'directory' && root.readOnly)
}

/** Set with the network, before the runtime begins. */
export function isOfNetwork(sysctl: string): boolean {
  return /^net[./]/.test(sysctl)
}

function processOf(spec: SandboxSpec): Record<string, unknown> {
  const { user, security, resourceLimits = [], oomScoreAdjustment } = spec
  const { capabilities } = security
  const infinity = 2 ** 63 - 1
  return {
    args: spec.argv,
    env: spec.env,
    cwd: spec.cwd,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    noNewPrivileges: security.noNewPrivileges,
    rlimits: resourceLimits.map(({ name, soft, hard }) => ({
      type: `RLIMIT_${name.toUpperCase()}`,
      soft: soft === 'unlimited' ? infinity : soft,
      hard: hard === 'unlimited' ? infinity : hard,
    })),
    ...(oomScoreAdjustment === undefined ? {} : { oomScoreAdj: oomScoreAdjustment }),
  }
}

/** The kernel's, as Docker has them. */
function mountsOf({ shmSize }: SandboxSpec): Record<string, unknown>[] {
  const mount = (type: string, destination: string, ...options: string[]) => {
    return { type, source: type, destination, options }
  }
  const inert = ['nosuid', 'noexec', 'nodev'] as const
  return [
    mount('proc', '/proc', ...inert),
    mount('tmpfs', '/dev', 'nosuid', 'strictatime', 'mode=755', 'size=65536k'),
    mount(
      'devpts',
      '/dev/pts',
      'nosuid',
      'noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      'gid=5',
    ),
    mount('tmpfs', '/dev/shm', ...inert, 'mode=1777', `size=${shmSize}`),
    mount('mqueue', '/dev/mqueue', ...inert),
    mount('sysfs', '/sys', ...inert, 'ro'),
  ]
}

/** All of {@link Limits}: one that is left out would be one that does not hold. */
function limitsOf(limits: Limits): Record<string, unknown> {
  const { memory, memorySwap, memoryReservation, cpuShares, cpuset, cpus, pids, ...io } = limits
  const period = 100_000
  const swap = memorySwap === 'unlimited' ? -1 : (memorySwap ?? (memory && 2 * memory))
  return {
    memory: {
      ...(memory === undefined ? {} : { limit: memory, swap }),
      ...(memoryReservation === undefined ? {} : { reservation: memoryReservation }),
    },
    cpu: {
      ...(cpuShares === undefined ? {} : { shares: cpuShares }),
      ...(cpuset === undefined ? {} : { cpus: cpuset }),
      ...(cpus === undefined ? {} : { quota: Math.round(cpus * period), period }),
    },
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
    ...blockLimits(io),
  }
}

const throttles = {
  'read-bps': 'throttleReadBpsDevice',
  'write-bps': 'throttleWriteBpsDevice',
  'read-iops': 'throttleReadIOPSDevice',
  'write-iops': 'throttleWriteIOPSDevice',
} as const

function blockLimits({
  ioWeight,
  ioRates = [],
}: Pick<Limits, 'ioWeight' | 'ioRates'>): Record<string, unknown> {
  if (ioWeight === undefined && ioRates.length === 0) return {}
  const rates = Object.entries(throttles).map(([kind, key]) => {
    const ofKind = ioRates.filter(rate => rate.kind === kind)
    return [key, ofKind.map(({ major, minor, rate }) => ({ major, minor, rate }))] as const
  })
  return {
    blockIO: {
      ...(ioWeight === undefined ? {} : { weight: ioWeight }),
      ...Object.fromEntries(rates.filter(([, list]) => list.length > 0)),
    },
  }
}

function devicesOf({ security, devices = [] }: SandboxSpec): Record<string, unknown>[] {
  const deny = { allow: false, access: 'rwm' }
  if (security.devices === 'all') return [{ allow: true, access: 'rwm' }]
  return [deny, ...[...defaultDeviceRules, ...devices.map(deviceRuleOf)].map(allow)]
}

function allow({ type, major, minor, access }: DeviceRule): Record<string, unknown> {
  return {
    allow: true,
    type: type === 'block' ? 'b' : 'c',
    ...(major === undefined ? {} : { major }),
    ...(minor === undefined ? {} : { minor }),
    access,
  }
}

function nodeOf(device: NonNullable<SandboxSpec['devices']>[number]): Record<string, unknown> {
  const { type, major, minor } = deviceRuleOf(device)
  return { path: device.target, type: type === 'block' ? 'b' : 'c', major, minor, fileMode: 0o666 }
}

/** For the network namespace that the runtime is started in. */
export function networkSysctlPaths(spec: SandboxSpec): (readonly [path: string, value: string])[] {
  const own = (spec.sysctls ?? []).filter(([key]) => isOfNetwork(key))
  return [
    ...(spec.network === 'host' ? [] : networkSysctls),
    ...own.map(([key, value]) => {
      return [`sys/${key.includes('/') ? key : key.replaceAll('.', '/')}`, value] as const
    }),
  ]
}
