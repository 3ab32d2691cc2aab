/**
 * What a container is: an image's RunConfig and the user's wishes become a SandboxSpec.
 *
 * Pure: everything read from disk (the user's ids, the home directory) comes in as a value. The
 * rules are docker's, since images are written for them.
 */
import { hostname as machineName, release } from 'node:os'
import { OciError } from '../../oci/errors.ts'
import type { Healthcheck, RunConfig } from '../../oci/image-config.ts'
import type { RootMount } from '../mount.ts'
import { allCapabilities, defaultPath, dockerCapabilities } from '../sandbox/defaults.ts'
import { compileSeccomp } from '../sandbox/seccomp/compile.ts'
import type { SeccompProfile } from '../sandbox/seccomp/profile.ts'
import type {
  Limits,
  NetworkMode,
  SandboxMount,
  SandboxSpec,
  SandboxUser,
  Security,
} from '../sandbox/spec.ts'
import { capabilitySet } from './capability-set.ts'
import { healthCheckOf, mergedHealthcheck } from './healthcheck.ts'
import type { VolumeWish } from './volume-use.ts'

/** What the user asks for beyond what the image says. */
export interface ContainerOptions {
  /** Replaces the image's Cmd when it is not empty. */
  readonly command: readonly string[]
  /** Replaces the image's Entrypoint, and drops its Cmd; empty: no entrypoint. */
  readonly entrypoint?: readonly string[]
  /** `KEY=value`; later ones win, and all win over the image's. */
  readonly env: readonly string[]
  readonly workingDirectory?: string
  readonly hostname?: string
  readonly network: NetworkMode
  readonly mounts: readonly SandboxMount[]
  readonly volumes: readonly VolumeWish[]
  readonly terminal: boolean
  readonly readOnly: boolean
  readonly security: SecurityOptions
  readonly limits: Limits
  readonly extraHosts: SandboxSpec['extraHosts']
  readonly dns: readonly string[]
  /** Bytes. */
  readonly shmSize: number
  /** Goes before what the image says, value by value. */
  readonly healthcheck?: Healthcheck
  /** What the sandbox knows and no image does. */
  readonly extras: ContainerExtras
}

export type ContainerExtras = Pick<
  SandboxSpec,
  | 'devices'
  | 'dnsOptions'
  | 'dnsSearch'
  | 'domainname'
  | 'init'
  | 'joined'
  | 'oomScoreAdjustment'
  | 'ports'
  | 'resourceLimits'
  | 'shared'
  | 'sysctls'
>

export interface SecurityOptions {
  /** Names with or without `CAP_`, or `ALL`. */
  readonly capAdd: readonly string[]
  readonly capDrop: readonly string[]
  /** All capabilities and devices, no seccomp filter, nothing masked. */
  readonly privileged: boolean
  readonly seccomp: 'default' | 'unconfined' | SeccompProfile
  readonly noNewPrivileges: boolean
}

/** What is known once the container's root exists. */
export interface ContainerBase {
  /** 64 hex digits. */
  readonly id: string
  readonly root: RootMount
  readonly user: SandboxUser
  /** Of the user, in the image's passwd. */
  readonly home: string
  /** Where its volumes are. */
  readonly volumes: readonly SandboxMount[]
}

/**
 * Throws `invalid` when there is no command to run, or to check with, for an unknown capability, and
 * for a seccomp profile that no program can hold.
 */
export function containerSpec(
  config: RunConfig,
  options: ContainerOptions,
  base: ContainerBase,
): SandboxSpec {
  const isHost = options.extras.shared?.includes('uts') ?? false
  const hostname = options.hostname ?? (isHost ? machineName() : base.id.slice(0, 12))
  const health = healthCheckOf(mergedHealthcheck(config, options.healthcheck))
  return {
    root: base.root,
    readOnly: options.readOnly,
    mounts: outerFirst([...options.mounts, ...base.volumes]),
    argv: containerCommand(config, options),
    env: containerEnvironment(config, options, { ...base, hostname }),
    cwd: workingDirectory(config, options),
    user: base.user,
    hostname,
    network: options.network,
    security: containerSecurity(options.security),
    limits: options.limits,
    extraHosts: options.extraHosts,
    dns: options.dns,
    shmSize: options.shmSize,
    terminal: options.terminal,
    hostFiles: 'writable',
    ...(health === undefined ? {} : { health }),
    ...options.extras,
  }
}

/** None hides another that lies below it, in whatever order they were asked for. */
function outerFirst(mounts: readonly SandboxMount[]): SandboxMount[] {
  const depth = ({ target }: SandboxMount) => target.split('/').filter(Boolean).length
  return [...mounts].sort((a, b) => depth(a) - depth(b))
}

/** Entrypoint and Cmd, each replaced by the user's; Cmd belongs to the image's own entrypoint. */
export function containerCommand(
  config: RunConfig,
  { command, entrypoint }: Pick<ContainerOptions, 'command' | 'entrypoint'>,
): string[] {
  const imageCommand = entrypoint === undefined ? (config.Cmd ?? []) : []
  const argv = [
    ...(entrypoint ?? config.Entrypoint ?? []),
    ...(command.length > 0 ? command : imageCommand),
  ]
  if (argv.length > 0) return argv
  throw new OciError('invalid', 'Cannot run the image: it names no command', {
    hint: 'Give one after the image name',
  })
}

/** Absolute: a relative one is taken from the root, as docker takes it. */
export function workingDirectory(
  { WorkingDir = '' }: RunConfig,
  { workingDirectory: wanted }: Pick<ContainerOptions, 'workingDirectory'>,
): string {
  const path = wanted ?? (WorkingDir === '' ? '/' : WorkingDir)
  return path.startsWith('/') ? path : `/${path}`
}

/** Defaults under the image's under the user's. A wish without `=` takes a variable away. */
function containerEnvironment(
  config: RunConfig,
  options: ContainerOptions,
  { hostname, home }: { readonly hostname: string; readonly home: string },
): string[] {
  const variables = new Map([
    ['PATH', defaultPath],
    ['HOSTNAME', hostname],
  ])
  if (options.terminal) variables.set('TERM', 'xterm')
  for (const assignment of [...(config.Env ?? []), ...options.env]) {
    const equals = assignment.indexOf('=')
    if (equals === -1) variables.delete(assignment)
    else variables.set(assignment.slice(0, equals), assignment.slice(equals + 1))
  }
  if ((variables.get('HOME') ?? '') === '') variables.set('HOME', home)
  return Array.from(variables, ([name, value]) => `${name}=${value}`)
}

function containerSecurity(options: SecurityOptions): Security {
  const { privileged, noNewPrivileges } = options
  const capabilities = capabilitySet(privileged ? allCapabilities : dockerCapabilities, options)
  return {
    capabilities,
    seccomp: systemCallFilter(options, capabilities),
    noNewPrivileges,
    paths: privileged ? 'unmasked' : 'default',
    devices: privileged ? 'all' : 'default',
  }
}

function systemCallFilter(
  { privileged, seccomp }: SecurityOptions,
  capabilities: readonly string[],
): Security['seccomp'] {
  if (typeof seccomp === 'object') {
    return compileSeccomp(seccomp, { capabilities, machine: process.arch, kernel: release() })
  }
  return privileged ? 'unconfined' : seccomp
}
