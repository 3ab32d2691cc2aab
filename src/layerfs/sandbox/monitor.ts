/**
 * The native program from outside (native/sandbox/sandbox.h has its guarantees): it makes the
 * container and stays beside it as its monitor. Between it and us: operations and then signals on
 * its descriptor 3, records on 4. It ends the container when descriptor 3 ends, unless it was told
 * to let go of us.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Duplex } from 'node:stream'
import { hasCode, OciError, unreachable } from '../../oci/errors.ts'
import { nativeHint, nativePath } from '../native/native-programs.ts'
import { type CreatedTarget, RecordReader, type SandboxRecord } from './records.ts'
import { SandboxError, type SandboxFailure } from './sandbox-error.ts'
import type { ExitStatus, PublishedPort } from './spec.ts'

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

export interface StartedSandbox extends RunningSandbox {
  /** From now on the container lives on without us. */
  letGo(): Promise<void>
}

export interface MonitorIo {
  readonly output: 'inherit' | ((stream: 'stdout' | 'stderr', chunk: Uint8Array) => void)
  readonly signal?: AbortSignal
  readonly onStarted?: (handle: StartedSandbox) => void
}

/** What became of it. */
export interface Outcome {
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

/** Throws what kept the program from running, or from being watched to its end. */
export function exitOf({ thrown, failure, exit }: Outcome): Omit<ExitStatus, 'outOfMemory'> {
  if (thrown !== undefined) throw thrown.error
  if (failure !== undefined) throw new SandboxError(failure)
  if (exit === undefined) {
    throw new OciError('unavailable', 'Cannot run the sandbox: its monitor was killed')
  }
  return { code: exit.code, ...(exit.signal === 0 ? {} : { signal: exit.signal }) }
}

/** How long an aborted monitor may take before it is killed itself, in milliseconds. */
const patience = 5_000

/**
 * `stdio`: descriptors 0 to 2, then those from 5. Detached ones are of no terminal's session; one
 * that is `isSeen` by other containers runs from a copy that nobody can write.
 * Throws `unsupported` without the native program, and `unavailable` when the machine has no room
 * for a process: then it has no streams either.
 */
export async function startMonitor(
  stdio: readonly ('ignore' | 'inherit' | 'pipe' | number)[],
  { isDetached = false, isSeen = false }: { isDetached?: boolean; isSeen?: boolean } = {},
): Promise<ChildProcess> {
  const all: StdioOptions = [...stdio.slice(0, 3), 'pipe', 'pipe', ...stdio.slice(3)]
  const monitor = spawn(nativePath('sandbox'), isSeen ? ['sealed'] : [], {
    stdio: all,
    env: {},
    ...(isDetached ? { detached: true, cwd: '/' } : {}),
  })
  await new Promise<void>((resolve, reject) => {
    monitor.once('spawn', resolve)
    // Stays: one that comes later, of a signal that could not be sent, must not end our process.
    monitor.on('error', error => reject(cannotStart(error)))
  })
  return monitor
}

/** Resolves when the monitor is gone and all its output has been handed on. */
export function superviseMonitor(
  monitor: ChildProcess,
  operations: Buffer,
  io: MonitorIo,
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
    readRecords(monitor, record => guard(() => note(record, { outcome, monitor, io })))
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

function cannotStart(cause: Error): OciError {
  const noRoom = ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM'] as const
  if (noRoom.some(code => hasCode(cause, code))) {
    return new OciError('unavailable', `Cannot start a sandbox: ${cause.message}`, { cause })
  }
  return new OciError('unsupported', `Cannot start the native program "${nativePath('sandbox')}"`, {
    cause,
    hint: nativeHint(),
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

function readOutput(
  monitor: ChildProcess,
  { output }: MonitorIo,
  guard: (work: () => void) => void,
): void {
  if (output === 'inherit') return
  monitor.stdout?.on('data', (chunk: Uint8Array) => guard(() => output('stdout', chunk)))
  monitor.stderr?.on('data', (chunk: Uint8Array) => guard(() => output('stderr', chunk)))
}

interface Run {
  readonly outcome: Outcome
  readonly monitor: ChildProcess
  readonly io: MonitorIo
}

function note(record: SandboxRecord, run: Run): void {
  const { outcome } = run
  switch (record.kind) {
    case 'created':
      outcome.created.push(record)
      return
    case 'made':
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
      run.io.onStarted?.(handleOf(record.pid, run))
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

function handleOf(pid: number, { outcome, monitor }: Run): StartedSandbox {
  const control = monitor.stdio[3] as Duplex
  return {
    pid,
    ports: outcome.ports,
    ...(outcome.address === undefined ? {} : { address: outcome.address }),
    kill: signal => {
      if (outcome.exit === undefined) control.write(Uint8Array.of(signal))
    },
    letGo: async () => {
      await new Promise<void>(resolve => control.write(Uint8Array.of(letGo), () => resolve()))
      control.destroy()
      ;(monitor.stdio[4] as Duplex).destroy()
      monitor.unref()
    },
  }
}

/** native/sandbox/sandbox.h: LET_GO. */
const letGo = 255
