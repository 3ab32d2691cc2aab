/**
 * The spec as the list of operations that the native program reads; native/sandbox/input.c has the
 * table. Nothing is done here: a spec and its files become bytes.
 */
import { OciError } from '../../oci/errors.ts'
import type { RootMount } from '../mount.ts'
import type { DeviceBound } from './cgroup-devices.ts'
import { defaultBridge, maskedPaths, networkSysctls, readOnlyPaths } from './defaults.ts'
import { type HealthSurroundings, healthOperations } from './health-operations.ts'
import { hostnameFile, hostsFile } from './host-files.ts'
import type { NetworkHelper } from './network-helper.ts'
import { encodeWords, type Operation } from './operation-words.ts'
import {
  capabilityOperations,
  filterOperations,
  processOperations,
  resourceOperations,
} from './process-operations.ts'
import { networkSysctlPaths } from './runtime-bundle.ts'
import type { PublishedPort, SandboxMount, SandboxSpec } from './spec.ts'

/** What can be made ready before it is known what runs: all of a spec but its files and its program. */
export type SandboxFrame = Omit<
  SandboxSpec,
  | 'root'
  | 'mounts'
  | 'hostFiles'
  | 'extraHosts'
  | 'dns'
  | 'dnsSearch'
  | 'dnsOptions'
  | 'argv'
  | 'env'
  | 'cwd'
  | 'user'
>

/** What a run adds to a frame. */
export interface FrameSurroundings {
  /** Paths of cgroup.procs files to enter. */
  readonly cgroups: readonly string[]
  /** The directory of a version 2 cgroup to begin in; that of `devices` goes before it. */
  readonly firstCgroup?: string
  /** Whether /sys/fs/cgroup can be the unified hierarchy. */
  readonly cgroup2: boolean
  /** Where root is root of a user namespace, and `single`: of its own id alone. */
  readonly userNamespace?: 'ranges' | 'single'
  /** What bounds the devices, if anything. */
  readonly devices: DeviceBound | undefined
  /** Instead of a bridge. */
  readonly networkHelper?: NetworkHelper
}

/** What a run adds to what is in the frame. */
export interface ProgramSurroundings {
  /** The directory with the mount points that an image may lack; see stub-directory.ts. */
  readonly stubs: string
  /** The root's upper directory need not survive a crash of the machine. */
  readonly volatile: boolean
  /** Layers as kernels before 6.5 take them. */
  readonly classicOverlay: boolean
  readonly resolvConf: string
  readonly keeping?: Keeping
  /** For a spec with a health check. */
  readonly health?: HealthSurroundings
}

export type Surroundings = FrameSurroundings & ProgramSurroundings

/** What a container's monitor does: native/sandbox/keep.c. */
export interface Keeping {
  /** It writes the output down. */
  readonly logs: boolean
  /** Bytes of it that are kept; absent: all. */
  readonly logLimit: number | undefined
  /** Which it removes. */
  readonly cgroups: readonly string[]
  readonly memoryEvents: string | undefined
  /** A directory to move away at the end. */
  readonly discard: { readonly from: string; readonly to: string } | undefined
}

/** Throws `invalid` for a text with a NUL and for an unknown capability. */
export function encodeOperations(spec: SandboxSpec, around: Surroundings): Buffer {
  return encodeWords([...frameOperations(spec, around), ...programOperations(spec, around)])
}

/** The first of two inputs: {@link encodeProgram} makes the other. */
export function encodeFrame(frame: SandboxFrame, around: FrameSurroundings): Buffer {
  return encodeWords([...frameOperations(frame, around), ['program-later']])
}

/** Throws as {@link encodeOperations}. */
export function encodeProgram(spec: SandboxSpec, around: ProgramSurroundings): Buffer {
  return encodeWords(programOperations(spec, around))
}

function frameOperations(frame: SandboxFrame, around: FrameSurroundings): Operation[] {
  return [
    ...options(frame, around),
    ['proc'],
    ['dev', frame.shmSize],
    ...(frame.devices ?? []).map(({ source, target }) => {
      return ['device', source, target.replace(/^\/dev\//, '')] as const
    }),
    ['sys'],
    ...(around.cgroup2 ? [['cgroup2'] as const] : []),
    ...joinOperations(frame),
    ...networkOperations(frame, around),
    ...securityOperations(frame, around),
    ...cgroupOperations(around),
    ...limitOperations(frame),
    ...nameOperations(frame),
  ]
}

/** Their files lie over what the frame mounts. */
function programOperations(spec: SandboxSpec, around: ProgramSurroundings): Operation[] {
  return [
    ...rootOperations(spec.root, around),
    ...standardFiles(spec, around.resolvConf),
    ...spec.mounts.flatMap(mountOperations),
    ...processOperations(spec),
    ...(around.keeping === undefined ? [] : keepingOperations(around.keeping)),
    ...healthOperations(spec, around.health),
  ]
}

function nameOperations({ hostname, domainname }: SandboxFrame): Operation[] {
  return [
    ['hostname', hostname],
    ...(domainname === undefined ? [] : [['domainname', domainname] as const]),
  ]
}

function cgroupOperations({ firstCgroup, cgroups, devices }: FrameSurroundings): Operation[] {
  const isNamed = firstCgroup === undefined || devices?.kind === 'filtered'
  return [
    ...(isNamed ? [] : [['begin-in-cgroup', firstCgroup] as const]),
    ...cgroups.map(path => ['cgroup', path] as const),
  ]
}

function keepingOperations(keeping: Keeping): Operation[] {
  const { logs, logLimit, cgroups, memoryEvents, discard } = keeping
  return [
    ['option', 'keeps'],
    ...(logs ? [['option', 'logs'] as const] : []),
    ...(logLimit === undefined ? [] : [['log-limit', logLimit] as const]),
    ...cgroups.map(path => ['own-cgroup', path] as const),
    ...(memoryEvents === undefined ? [] : [['memory-events', memoryEvents] as const]),
    ...(discard === undefined ? [] : [['discard', discard.from, discard.to] as const]),
  ]
}

/** What is made before another runtime begins, which does the rest: by-runtime.ts. */
export function runtimeOperations(spec: SandboxSpec, around: Surroundings): Operation[] {
  const network = networkOperations(spec, around).filter(([name]) => name !== 'sysctl')
  return [
    ...rootOperations(spec.root, around).filter(operation => operation !== readOnly),
    ...standardFiles(spec, around.resolvConf),
    ...spec.mounts.flatMap(mountOperations),
    ...network,
    ...networkSysctlPaths(spec).map(([path, value]) => ['sysctl', path, value] as const),
    ...nameOperations(spec),
    ...processOperations(spec),
    ...(around.keeping === undefined ? [] : keepingOperations(around.keeping)),
  ]
}

function rootOperations(root: RootMount, around: ProgramSurroundings): Operation[] {
  if (root.kind === 'directory') {
    return [['directory', root.path], ...(root.readOnly ? [readOnly] : [])]
  }
  // An overlay of one read-only layer is none: the kernel refuses it.
  if (root.lower.length === 0 && root.upper === undefined)
    return [['directory', around.stubs], readOnly]
  return [
    ...[...root.lower, around.stubs].map(path => ['lower', path] as const),
    ...(root.upper === undefined ? [] : [['upper', root.upper, root.work ?? ''] as const]),
    ...(around.volatile ? [['option', 'overlay-volatile'] as const] : []),
    ...(around.classicOverlay ? [['option', 'overlay-classic'] as const] : []),
  ]
}

const readOnly = ['option', 'read-only'] as const

function options(spec: SandboxFrame, { devices, userNamespace }: FrameSurroundings): Operation[] {
  const wanted: [name: string, on: boolean][] = [
    ['read-only', spec.readOnly],
    ['terminal', spec.terminal],
    ['seccomp', spec.security.seccomp === 'default'],
    ['no-new-privileges', spec.security.noNewPrivileges],
    ['init', spec.init ?? false],
    ['host-ipc', isNotOwn(spec, 'ipc')],
    ['host-pid', isNotOwn(spec, 'pid')],
    ['host-uts', isNotOwn(spec, 'uts')],
    ['bind-devices', devices?.kind === 'none'],
    ['overlay-user', userNamespace !== undefined],
    ['own-terminals', userNamespace === 'single'],
    ['borrow-sys', userNamespace !== undefined && spec.network === 'host'],
  ]
  return wanted.filter(([, on]) => on).map(([name]) => ['option', name])
}

/** The host's or another container's. */
export function isNotOwn(
  { shared = [], joined = [] }: Pick<SandboxSpec, 'shared' | 'joined'>,
  name: 'ipc' | 'pid' | 'uts',
): boolean {
  return shared.includes(name) || joined.some(({ kind }) => kind === name)
}

function joinOperations({ joined = [] }: SandboxFrame): Operation[] {
  return joined.flatMap(({ kind, pid }): Operation[] => {
    const directory = `/proc/${pid}/ns`
    return [
      ['join', kind, `${directory}/${kind === 'network' ? 'net' : kind}`],
      // What is shared by name is in its /dev/shm.
      ...(kind === 'ipc' ? [['shared-memory', `${directory}/mnt`] as const] : []),
    ]
  })
}

function standardFiles(spec: SandboxSpec, resolvConf: string): Operation[] {
  const files: [target: string, content: string][] = [
    ['/etc/resolv.conf', resolvConf],
    ['/etc/hosts', hostsFile(spec)],
    ['/etc/hostname', hostnameFile(spec)],
  ]
  const name = spec.hostFiles === 'writable' && !spec.readOnly ? 'own-file' : 'file'
  const taken = new Set(spec.mounts.map(mount => mount.target))
  return files
    .filter(([target]) => !taken.has(target))
    .map(([target, content]) => [name, target, 0o644, 0, 0, content])
}

function mountOperations(mount: SandboxMount): Operation[] {
  switch (mount.kind) {
    case 'bind':
      return [
        [
          'bind',
          mount.source,
          mount.target,
          mount.readOnly ? 'ro' : 'rw',
          mount.recursive ? 'recursive' : 'plain',
        ],
      ]
    case 'layers':
      return [
        ...layerOperations(mount.root),
        ['bind-layers', mount.source, mount.target, mount.readOnly ? 'ro' : 'rw'],
      ]
    case 'tmpfs':
      return [['tmpfs', mount.target, mount.size ?? '', mount.mode.toString(8)]]
    case 'file':
      return [['file', mount.target, mount.mode, mount.uid, mount.gid, mount.content]]
  }
}

/** What is one directory, or becomes one for want of a layer below, is named as a single layer. */
function layerOperations(root: RootMount): Operation[] {
  if (root.kind === 'directory') return [['layer', root.path]]
  const { lower, upper, work = '' } = root
  const lowers = lower.map(path => ['layer', path] as const)
  if (upper === undefined) return lowers
  return lower.length === 0 ? [['layer', upper]] : [...lowers, ['layer-upper', upper, work]]
}

function networkOperations(spec: SandboxFrame, around: FrameSurroundings): Operation[] {
  if (spec.network === 'host' || spec.network === 'container') return [['host-network']]
  // The groups that may send echoes must be there, and who they are differs by namespace.
  const sysctls = networkSysctls
    .filter(([path]) => around.userNamespace === undefined || !path.endsWith('ping_group_range'))
    .map(([path, value]) => ['sysctl', path, value] as const)
  if (spec.network === 'none') return sysctls
  const ports = publishable(spec, around).map(
    ({ hostAddress, hostPort, port, protocol, isTwin }) =>
      ['publish', isTwin ? 'twin' : hostAddress, hostPort, port, protocol] as const,
  )
  return [connection(spec, around), ...ports, ...sysctls]
}

/** A helper's network has IPv4 alone. Throws `unsupported` for a port that is wanted on IPv6. */
function publishable(
  { ports = [] }: SandboxFrame,
  { networkHelper }: FrameSurroundings,
): readonly PublishedPort[] {
  if (networkHelper === undefined) return ports
  const ofIpv4 = ports.filter(({ isTwin }) => isTwin !== true)
  const other = ofIpv4.find(({ hostAddress }) => hostAddress.includes(':'))
  if (other === undefined) return ofIpv4
  throw new OciError(
    'unsupported',
    `Cannot publish a port on [${other.hostAddress}]: without root, ports are published on IPv4 alone`,
  )
}

function connection(
  { bridge = defaultBridge }: SandboxFrame,
  around: FrameSurroundings,
): Operation {
  const { networkHelper: helper } = around
  if (helper !== undefined) return ['user-network', helper.kind, helper.path]
  return ['bridge', bridge.name, bridge.subnet, bridge.lockDirectory]
}

function limitOperations(spec: SandboxFrame): Operation[] {
  const { sysctls = [], oomScoreAdjustment } = spec
  return [
    ...resourceOperations(spec),
    ...sysctls.map(([name, value]) => ['sysctl', sysctlPath(name), value] as const),
    ...(oomScoreAdjustment === undefined ? [] : [['oom-score', oomScoreAdjustment] as const]),
  ]
}

/** `net.ipv4.ip_forward`; with slashes, dots are part of names: `net/ipv4/conf/eth0.1/mtu`. */
function sysctlPath(name: string): string {
  return `sys/${name.includes('/') ? name : name.replaceAll('.', '/')}`
}

function securityOperations(spec: SandboxFrame, { devices }: FrameSurroundings): Operation[] {
  const { security } = spec
  const isExact = (spec.devices ?? []).some(({ access }) => access !== 'rwm')
  return [
    ...filterOperations(security),
    ...(devices?.kind === 'filtered'
      ? [['device-filter', devices.directory, devices.program, isExact ? 'exact' : ''] as const]
      : []),
    ...capabilityOperations(security),
    ...(security.paths === 'unmasked'
      ? []
      : [
          ...maskedPaths().map(path => ['mask', path] as const),
          ...readOnlyPaths.map(path => ['read-only-path', path] as const),
        ]),
  ]
}
