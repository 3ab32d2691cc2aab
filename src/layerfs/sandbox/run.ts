/**
 * Runs one program in a sandbox made for it.
 *
 * The native program (native/sandbox.h has its guarantees) does the work and stays beside the
 * container as its monitor. Between it and us: operations and then signals on its descriptor 3,
 * records on 4. It ends the container when descriptor 3 ends, so a killed process of ours leaves
 * nothing running and nothing mounted.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Duplex } from 'node:stream'
import { hasCode, OciError, unreachable } from '../../oci/errors.ts'
import { hasSingleId, isInUserNamespace } from '../layer/overlay-format.ts'
import { nativePath } from '../native/syscalls.ts'
import { createCgroup } from './cgroup.ts'
import { removeCreated } from './created-targets.ts'
import type { DeviceRule } from './device-rules.ts'
import { deviceRuleOf } from './devices.ts'
import { resolvConf } from './host-files.ts'
import { encodeOperations } from './operations.ts'
import { killOrphan } from './orphan.ts'
import { type CreatedTarget, RecordReader, type SandboxRecord } from './records.ts'
import { SandboxError, type SandboxFailure } from './sandbox-error.ts'
import type { ExitStatus, PublishedPort, SandboxSpec } from './spec.ts'
import { stubDirectory } from './stub-directory.ts'

export interface SandboxIo {
  readonly stdin: 'null' | 'inherit'
  /** Called in the order of each stream; what it throws ends the run with that error. */
  readonly output: 'inherit' | ((stream: 'stdout' | 'stderr', chunk: Uint8Array) => void)
  /** Kills everything; the run then rejects with the signal's reason, after all is gone. */
  readonly signal?: AbortSignal
  readonly onStarted?: (handle: RunningSandbox) => void
  /** A directory of ours for the mount points that an image may lack; made when missing. */
  readonly stubs: string
  /** The writable layer need not survive a crash of the machine: faster. */
  readonly volatile?: boolean
  /** How the layers reach the kernel: by `classic` one older than 6.5; found out when absent. */
  readonly overlay?: 'classic'
  /** Names the container's cgroup; unique among running ones. */
  readonly id: string
}

export interface RunningSandbox {
  /** Of the container's first process, outside. */
  readonly pid: number
  /** With the `bridge` network. */
  readonly address?: string
  /** Of the host, with the numbers that were found for those that could be any. */
  readonly ports: readonly PublishedPort[]
  /** Sends a signal to the first process; none after it ended. */
  kill(signal: number): void
}

/**
 * Runs `spec` to its end. Throws {@link SandboxError} when it could not be made or the program not
 * be started, the signal's reason when it was aborted; a program that fails is no error. Whatever
 * happens, no process, mount or cgroup is left, and no mount target that was made in the root's
 * upper directory unless something else is in it now.
 */
export async function runSandbox(spec: SandboxSpec, io: SandboxIo): Promise<ExitStatus> {
  io.signal?.throwIfAborted()
  assertNetwork(spec)
  using cgroup = createCgroup(io.id, { limits: spec.limits, devices: devicesOf(spec) })
  const operations = encodeOperations(spec, {
    stubs: stubDirectory(io.stubs),
    volatile: io.volatile ?? false,
    classicOverlay: io.overlay === 'classic',
    cgroups: cgroup.procs,
    // Without a cgroup of its own the container would see all of the host's.
    cgroup2: cgroup.unified && (cgroup.procs.length > 0 || cgroup.devices?.kind === 'filtered'),
    resolvConf: resolvConf(spec),
    devices: cgroup.devices,
    ...(isInUserNamespace() ? { userNamespace: hasSingleId() ? 'single' : 'ranges' } : {}),
  })
  const outcome = await superviseMonitor(await startMonitor(io), operations, io)
  if (outcome.exit === undefined && outcome.pid !== undefined) await killOrphan(outcome.pid)
  if (spec.root.kind === 'overlay' && spec.root.upper !== undefined) {
    removeCreated(spec.root.upper, outcome.created)
  }
  io.signal?.throwIfAborted()
  return { ...exitOf(outcome), outOfMemory: cgroup.outOfMemory() }
}

/** Interfaces of the host are for root of the host to connect. */
function assertNetwork({ network }: SandboxSpec): void {
  if (network !== 'bridge' || !isInUserNamespace()) return
  throw new OciError('unsupported', 'Cannot connect a container to a bridge without root', {
    hint: 'Use --network host, or --network none, or run as root',
  })
}

function devicesOf({ security, devices = [] }: SandboxSpec): 'all' | DeviceRule[] {
  return security.devices === 'all' ? 'all' : devices.map(deviceRuleOf)
}

function exitOf({ thrown, failure, exit }: Outcome): Omit<ExitStatus, 'outOfMemory'> {
  if (thrown !== undefined) throw thrown.error
  if (failure !== undefined) throw new SandboxError(failure)
  if (exit === undefined) {
    throw new OciError('unavailable', 'Cannot run the sandbox: its monitor was killed')
  }
  return { code: exit.code, ...(exit.signal === 0 ? {} : { signal: exit.signal }) }
}

interface Outcome {
  readonly created: CreatedTarget[]
  readonly ports: PublishedPort[]
  pid?: number
  address?: string
  /** Why nothing ran. */
  failure?: SandboxFailure
  exit?: { readonly code: number; readonly signal: number }
  /** By a callback of ours, the first of them. */
  thrown?: { readonly error: unknown }
}

/** How long an aborted monitor may take before it is killed itself, in milliseconds. */
const patience = 5_000

/**
 * Throws `unsupported` without the native program, and `unavailable` when the machine has no room
 * for a process: then it has no streams either.
 */
async function startMonitor(io: SandboxIo): Promise<ChildProcess> {
  const monitor = spawn(nativePath('sandbox'), [], { stdio: stdio(io), env: {} })
  await new Promise<void>((resolve, reject) => {
    monitor.once('spawn', resolve)
    // Stays: one that comes later, of a signal that could not be sent, must not end our process.
    monitor.on('error', error => reject(cannotStart(error)))
  })
  return monitor
}

/** Resolves when the monitor is gone and all its output has been handed on. */
function superviseMonitor(
  monitor: ChildProcess,
  operations: Buffer,
  io: SandboxIo,
): Promise<Outcome> {
  return new Promise(resolve => {
    const control = monitor.stdio[3] as Duplex
    const outcome: Outcome = { created: [], ports: [] }
    let deadline: NodeJS.Timeout | undefined
    const stop = () => {
      control.write(Uint8Array.of(constants.signals.SIGKILL))
      deadline ??= setTimeout(() => monitor.kill('SIGKILL'), patience)
    }
    const guard = (work: () => void) => {
      try {
        work()
      } catch (error) {
        outcome.thrown ??= { error }
        stop()
      }
    }
    // EPIPE: it ended before it read everything; how it ended says why.
    control.on('error', () => {})
    control.write(operations)
    readRecords(monitor, record => guard(() => note(record, { outcome, control, io })))
    readOutput(monitor, io, guard)
    io.signal?.addEventListener('abort', stop, { once: true })
    if (io.signal?.aborted === true) stop()
    monitor.on('close', () => {
      io.signal?.removeEventListener('abort', stop)
      clearTimeout(deadline)
      control.destroy()
      resolve(outcome)
    })
  })
}

function stdio({ stdin, output }: SandboxIo): StdioOptions {
  const out = output === 'inherit' ? 'inherit' : 'pipe'
  return [stdin === 'null' ? 'ignore' : 'inherit', out, out, 'pipe', 'pipe']
}

function cannotStart(cause: Error): OciError {
  const noRoom = ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM'] as const
  if (noRoom.some(code => hasCode(cause, code))) {
    return new OciError('unavailable', `Cannot start a sandbox: ${cause.message}`, { cause })
  }
  return new OciError('unsupported', `Cannot start the native program "${nativePath('sandbox')}"`, {
    cause,
    hint: 'run "npm run build" in the checkout; it needs a C compiler (Debian: apt-get install gcc libc6-dev)',
  })
}

function readRecords(monitor: ChildProcess, take: (record: SandboxRecord) => void): void {
  const reader = new RecordReader()
  const reports = monitor.stdio[4] as Duplex
  reports.on('error', () => {})
  reports.on('data', (chunk: Uint8Array) => {
    for (const record of reader.push(chunk)) take(record)
  })
}

function readOutput(monitor: ChildProcess, io: SandboxIo, guard: (work: () => void) => void): void {
  const { output } = io
  if (output === 'inherit') return
  monitor.stdout?.on('data', (chunk: Uint8Array) => guard(() => output('stdout', chunk)))
  monitor.stderr?.on('data', (chunk: Uint8Array) => guard(() => output('stderr', chunk)))
}

interface Run {
  readonly outcome: Outcome
  readonly control: Duplex
  readonly io: SandboxIo
}

function note(record: SandboxRecord, { outcome, control, io }: Run): void {
  switch (record.kind) {
    case 'created':
      outcome.created.push(record)
      return
    case 'network':
      outcome.address = record.address
      return
    case 'port': {
      const { kind: _, ...port } = record
      outcome.ports.push(port)
      return
    }
    case 'started':
      outcome.pid = record.pid
      io.onStarted?.({
        pid: record.pid,
        ports: outcome.ports,
        ...(outcome.address === undefined ? {} : { address: outcome.address }),
        kill: signal => {
          if (outcome.exit === undefined) control.write(Uint8Array.of(signal))
        },
      })
      return
    case 'error':
      outcome.failure ??= record
      return
    case 'exit':
      outcome.exit = record
      return
    default:
      unreachable(record)
  }
}
