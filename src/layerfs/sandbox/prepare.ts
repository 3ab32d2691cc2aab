/** What the native program is to read, and the cgroup it is to use: a spec, made ready to run. */
import { OciError } from '../../oci/errors.ts'
import { hasSingleId, isInUserNamespace } from '../layer/overlay-format.ts'
import { overlayUse } from '../layer/overlay-use.ts'
import { type Cgroup, createCgroup } from './cgroup.ts'
import type { DeviceRule } from './device-rules.ts'
import { deviceRuleOf } from './devices.ts'
import { resolvConf } from './host-files.ts'
import { findNetworkHelper } from './network-helper.ts'
import {
  encodeFrame,
  encodeOperations,
  encodeProgram,
  type FrameSurroundings,
  isNotOwn,
  type Keeping,
  type ProgramSurroundings,
  type SandboxFrame,
} from './operations.ts'
import type { SandboxSpec } from './spec.ts'
import { stubDirectory } from './stub-directory.ts'
import { withCopies } from './with-copies.ts'

export interface SandboxPlace {
  /** A directory of ours for the mount points that an image may lack; made when missing. */
  readonly stubs: string
  /** The writable layer need not survive a crash of the machine: faster. */
  readonly volatile?: boolean
  /** How the layers reach the kernel: by `classic` one older than 6.5; found out when absent. */
  readonly overlay?: 'classic'
  /** Names the container's cgroup; unique among running ones. */
  readonly id: string
  /** What comes of a health check is written there; absent: nothing is checked. */
  readonly healthFile?: string
}

export interface Prepared {
  readonly operations: Buffer
  /** To be disposed of when the container has ended. */
  readonly cgroup: Cgroup
  /** Whether others see our program before it is the container's: it is to run from a copy then. */
  readonly isSeen: boolean
}

/**
 * What the monitor does beyond running the container: nothing; hear of signals and write down the
 * end; or all that a container needs whose caller is gone.
 */
export type MonitorDuties = 'nothing' | 'end' | Pick<Keeping, 'discard' | 'logLimit'>

/** The caller disposes of the cgroup. Throws `unsupported` and `invalid`, and then leaves none. */
export function prepareSandbox(
  wanted: SandboxSpec,
  place: SandboxPlace,
  duties: MonitorDuties,
): Prepared {
  const spec = onThisKernel(wanted)
  return withCgroup(spec, place.id, cgroup =>
    encodeOperations(spec, {
      ...aroundFrame(spec, cgroup),
      ...aroundProgram(spec, place),
      ...(duties === 'nothing' ? {} : { keeping: keepingOf(duties, cgroup) }),
      ...(place.healthFile === undefined ? {} : { health: { file: place.healthFile, cgroup } }),
    }),
  )
}

/** The same for a program that comes later. */
export function prepareFrame(frame: SandboxFrame, id: string): Prepared {
  return withCgroup(frame, id, cgroup => encodeFrame(frame, aroundFrame(frame, cgroup)))
}

/** What a frame's sandbox is to read then. Throws `invalid`. */
export function prepareProgram(wanted: SandboxSpec, place: SandboxPlace): Buffer {
  const spec = onThisKernel(wanted)
  return encodeProgram(spec, aroundProgram(spec, place))
}

function onThisKernel(spec: SandboxSpec): SandboxSpec {
  return overlayUse() === 'copy' ? withCopies(spec) : spec
}

function withCgroup(frame: SandboxFrame, id: string, encode: (cgroup: Cgroup) => Buffer): Prepared {
  const cgroup = createCgroup(id, { limits: frame.limits, devices: devicesOf(frame) })
  try {
    assertShareable(frame, cgroup)
    return { operations: encode(cgroup), cgroup, isSeen: isNotOwn(frame, 'pid') }
  } catch (error) {
    cgroup[Symbol.dispose]()
    throw error
  }
}

function aroundFrame({ network }: SandboxFrame, cgroup: Cgroup): FrameSurroundings {
  const helper = network === 'bridge' && isInUserNamespace() ? findNetworkHelper() : undefined
  return {
    cgroups: cgroup.procs,
    // Without a cgroup of its own the container would see all of the host's.
    cgroup2: cgroup.unified && (cgroup.procs.length > 0 || cgroup.first !== undefined),
    devices: cgroup.devices,
    ...(cgroup.first === undefined ? {} : { firstCgroup: cgroup.first }),
    ...(isInUserNamespace() ? { userNamespace: hasSingleId() ? 'single' : 'ranges' } : {}),
    ...(helper === undefined ? {} : { networkHelper: helper }),
  }
}

function aroundProgram(spec: SandboxSpec, place: SandboxPlace): ProgramSurroundings {
  return {
    stubs: stubDirectory(place.stubs),
    volatile: place.volatile ?? false,
    classicOverlay: place.overlay === 'classic',
    resolvConf: resolvConf(spec),
  }
}

function assertShareable(spec: SandboxFrame, { first }: Cgroup): void {
  if (isInUserNamespace() && (spec.joined ?? []).length > 0) {
    throw new OciError(
      'unsupported',
      'Cannot share namespaces of another container without root: each has a user namespace of its own',
      { hint: 'Use sudo for both' },
    )
  }
  if (isInUserNamespace() && (spec.shared ?? []).includes('pid')) {
    throw new OciError('unsupported', 'Cannot share the processes of this machine without root', {
      hint: 'Use sudo',
    })
  }
  // Its end is the end of its process namespace, or else of its cgroup.
  if (!isNotOwn(spec, 'pid') || first !== undefined) return
  throw new OciError(
    'unsupported',
    'Cannot share process ids: there is no cgroup to end the container’s processes with',
    { hint: 'That takes root or a delegated cgroup, and version 2 of cgroups mounted' },
  )
}

function keepingOf(duties: Exclude<MonitorDuties, 'nothing'>, cgroup: Cgroup): Keeping {
  const isAlone = duties !== 'end'
  const { discard, logLimit } = isAlone ? duties : {}
  return {
    logs: isAlone,
    logLimit,
    cgroups: isAlone ? cgroup.directories : [],
    memoryEvents: cgroup.memoryEvents,
    discard,
  }
}

function devicesOf({ security, devices = [] }: SandboxFrame): 'all' | DeviceRule[] {
  return security.devices === 'all' ? 'all' : devices.map(deviceRuleOf)
}
