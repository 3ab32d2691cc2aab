/**
 * A bundle as the list of operations that the native program reads; native/sandbox/input.c has the
 * table. Nothing is done here.
 */
import { release } from 'node:os'
import { isInUserNamespace } from '../layer/overlay-format.ts'
import { capabilityNumber } from '../sandbox/defaults.ts'
import type { Operation } from '../sandbox/operation-words.ts'
import { resourceNumber } from '../sandbox/resource-limits.ts'
import { compileSeccomp } from '../sandbox/seccomp/compile.ts'
import { seccompProfileFrom } from '../sandbox/seccomp/profile.ts'
import type { ResourceLimit } from '../sandbox/spec.ts'
import { bundleMounts } from './bundle-mounts.ts'
import { directoriesOf, type MadeCgroup } from './container-cgroup.ts'
import type { Hook } from './hooks-config.ts'
import { type DeviceNode, type LinuxConfig, mapText, type NamespaceType } from './linux-config.ts'
import type { CapabilitySets, ProcessConfig } from './process-config.ts'
import type { RuntimeConfig } from './runtime-config.ts'
import { commonOperations, schedulingOperations } from './scheduling-config.ts'

export interface CreateSurroundings {
  /** Absolute path of the root. */
  readonly rootfs: string
  /** Absolute path of the bundle, which relative sources start from. */
  readonly bundle: string
  readonly cgroup: MadeCgroup
  readonly startSocket: string
  readonly seccomp: Uint8Array | undefined
  /** What hooks inside read: before the number of the process, by stage, and after it. */
  readonly hooksState: readonly [creating: string, created: string, after: string]
}

const namespaceFlags: Readonly<Record<NamespaceType, number>> = {
  mount: 0x0002_0000,
  cgroup: 0x0200_0000,
  uts: 0x0400_0000,
  ipc: 0x0800_0000,
  user: 0x1000_0000,
  pid: 0x2000_0000,
  network: 0x4000_0000,
  time: 0x80,
}

/** Throws `invalid` for texts with NULs and for a filter that no program can hold. */
export function createOperations(config: RuntimeConfig, around: CreateSurroundings): Operation[] {
  const { linux, process } = config
  const { cgroup } = around
  const first = cgroup.program === undefined ? cgroup.unified : undefined
  return [
    ...namespaceOperations(linux),
    ['start-socket', around.startSocket],
    ['directory', around.rootfs],
    ...flag('read-only', config.root.readonly),
    ...flag('bind-devices', cgroup.boundsNothing || isInUserNamespace() || ownsUsers(linux)),
    ...bundleMounts(config, around),
    ...(isBound(config, '/dev') ? [] : [['default-devices'] as const]),
    ...linux.devices
      .filter(isOfHost)
      .map(
        ({ path, type, major, minor, fileMode, uid, gid }) =>
          ['device-node', path, type, major, minor, fileMode, uid, gid] as const,
      ),
    ...linux.maskedPaths.map(path => ['mask', path] as const),
    ...linux.readonlyPaths.map(path => ['read-only-path', path] as const),
    ...Object.entries(linux.sysctl).map(
      ([name, value]) => ['sysctl', `sys/${name.replaceAll('.', '/')}`, value] as const,
    ),
    ...propagationOperations(linux),
    ...nameOperations(config),
    ...(cgroup.unified === undefined || cgroup.program === undefined
      ? []
      : [['device-filter', cgroup.unified, cgroup.program, 'exact'] as const]),
    ...(first === undefined ? [] : [['begin-in-cgroup', first] as const]),
    ...directoriesOf({ classic: cgroup.classic }).map(
      directory => ['cgroup', `${directory}/cgroup.procs`] as const,
    ),
    ['hooks-state', ...around.hooksState],
    ...hookOperations('createContainer', config.hooks.createContainer),
    ...hookOperations('startContainer', config.hooks.startContainer),
    ...commonOperations(linux.common),
    ...processOperations(process, around.seccomp),
  ]
}

/** Terminals are the container's own, whatever all of the host's devices include. */
function isOfHost({ path }: DeviceNode): boolean {
  return path !== '/dev/ptmx'
}

function ownsUsers({ namespaces }: LinuxConfig): boolean {
  return namespaces.has('user')
}

function isBound({ mounts }: RuntimeConfig, target: string): boolean {
  return mounts.some(({ destination, type }) => destination === target && type === 'bind')
}

export function flag(name: string, isOn: boolean): Operation[] {
  return isOn ? [['option', name]] : []
}

function namespaceOperations(linux: LinuxConfig): Operation[] {
  let flags = 0
  const joins: Operation[] = []
  for (const [type, { path }] of linux.namespaces) {
    if (path === undefined) flags += namespaceFlags[type]
    else joins.push(['join', type, path])
  }
  const network = linux.namespaces.get('network')
  const isNew = network !== undefined && network.path === undefined
  return [
    ['namespaces', flags],
    ...joins,
    ...(isNew ? [] : [['host-network'] as const]),
    ...(linux.uidMappings.length === 0
      ? []
      : [['id-maps', mapText(linux.uidMappings), mapText(linux.gidMappings)] as const]),
    ...linux.timeOffsets.map(line => ['time-offset', line] as const),
    ...linux.netDevices.map(({ device, name }) => ['net-device', device, name] as const),
  ]
}

const propagationFlags = { unbindable: 17, private: 18, slave: 19, shared: 20 } as const

function propagationOperations({ rootfsPropagation }: LinuxConfig): Operation[] {
  if (rootfsPropagation === undefined) return []
  return [['root-propagation', 2 ** propagationFlags[rootfsPropagation]]]
}

function nameOperations({ hostname, domainname, linux }: RuntimeConfig): Operation[] {
  if (!linux.namespaces.has('uts')) return [['option', 'host-uts']]
  return [
    ...(hostname === undefined ? [] : [['hostname', hostname] as const]),
    ...(domainname === undefined ? [] : [['domainname', domainname] as const]),
  ]
}

function hookOperations(stage: string, hooks: readonly Hook[]): Operation[] {
  const joined = (words: readonly string[]) => Buffer.from(words.map(word => `${word}\0`).join(''))
  return hooks.map(({ path, args, env, timeout = 0 }) => {
    return ['hook', stage, path, joined(args), joined(env), timeout] as const
  })
}

/** What runs, as whom: the same for a container's first process and for one that joins. */
export function processOperations(
  process: ProcessConfig,
  seccomp: Uint8Array | undefined,
): Operation[] {
  const { user, consoleSize, oomScoreAdj } = process
  return [
    ...flag('terminal', process.terminal),
    ...flag('no-new-privileges', process.noNewPrivileges),
    ...(consoleSize === undefined || consoleSize.height * consoleSize.width === 0
      ? []
      : [['console-size', consoleSize.height, consoleSize.width] as const]),
    ...(seccomp === undefined ? [] : [['filter', seccomp] as const]),
    ...capabilityOperations(process.capabilities),
    ...process.rlimits.map(rlimitOperation),
    ...(oomScoreAdj === undefined ? [] : [['oom-score', oomScoreAdj] as const]),
    ...schedulingOperations(process),
    ...(user.umask === undefined ? [] : [['umask', user.umask] as const]),
    ['user', user.uid, user.gid],
    ...user.additionalGids.map(gid => ['group', gid] as const),
    ['cwd', process.cwd],
    ...process.env.map(variable => ['variable', variable] as const),
    ...process.args.map(argument => ['argument', argument] as const),
  ]
}

function capabilityOperations(sets: CapabilitySets | undefined): Operation[] {
  const bits = (names: readonly string[]) =>
    names.reduce((sum, name) => sum | (1n << BigInt(capabilityNumber(name))), 0n).toString()
  const names = ['permitted', 'effective', 'inheritable', 'ambient'] as const
  return [
    ...(sets?.bounding ?? []).map(name => ['capability', capabilityNumber(name)] as const),
    ...names.map(name => ['capability-set', name, bits(sets?.[name] ?? [])] as const),
  ]
}

const infinity = 2n ** 64n - 1n

function rlimitOperation({ name, soft, hard }: ResourceLimit): Operation {
  const inWords = (limit: number | 'unlimited') => String(limit === 'unlimited' ? infinity : limit)
  return ['rlimit', name, resourceNumber(name), inWords(soft), inWords(hard)]
}

/** The bundle's filter as a program; `undefined` without one. Throws as {@link createOperations}. */
export function seccompProgram({ linux, process }: RuntimeConfig): Uint8Array | undefined {
  const { seccomp } = linux
  if (seccomp.value === undefined || seccomp.value === null) return undefined
  return compileSeccomp(seccompProfileFrom(seccomp), {
    capabilities: process.capabilities?.bounding ?? [],
    machine: globalThis.process.arch,
    kernel: release(),
  })
}
